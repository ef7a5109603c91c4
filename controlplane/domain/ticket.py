"""Tickets, attempts and what they ask of a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any


class TicketType(StrEnum):
    EPIC = "epic"
    FEATURE = "feature"
    TASK = "task"
    BUG = "bug"


class TicketState(StrEnum):
    PENDING = "pending"
    BLOCKED = "blocked"
    READY = "ready"
    ASSIGNED = "assigned"
    RUNNING = "running"
    WAITING = "waiting"
    IN_REVIEW = "in_review"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


LEASED = frozenset({TicketState.ASSIGNED, TicketState.RUNNING, TicketState.WAITING})
TERMINAL = frozenset({TicketState.COMPLETED, TicketState.FAILED, TicketState.CANCELLED})
# A dependency in one of these no longer holds its dependents back.
SATISFIED = frozenset({TicketState.IN_REVIEW, TicketState.COMPLETED})


class AttemptState(StrEnum):
    ASSIGNED = "assigned"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"


class Isolation(IntEnum):
    """Ordered from weakest to strongest; SIM runs no VM at all."""

    UNSPECIFIED = 0
    SIM = 1
    TCG = 2
    KVM_QEMU = 3
    KVM_FIRECRACKER = 4


class BootTier(StrEnum):
    NONE = ""
    T0 = "T0"
    T1 = "T1"
    T1S = "T1s"
    T2 = "T2"


@dataclass(frozen=True, slots=True)
class Resources:
    """Zero or empty: the image's default. Sizes in MiB."""

    vcpus: int = 0
    memory_mib: int = 0
    disk_mib: int = 0
    image: str = ""
    isolation: Isolation = Isolation.UNSPECIFIED
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TicketSpec:
    """What a person writes. `depends_on` holds ids once stored, ids, keys or refs before.

    At most one of `agent` and `workflow` is set; a stored workflow has its version.
    """

    title: str
    type: TicketType = TicketType.TASK
    description: str = ""
    acceptance_criteria: tuple[str, ...] = ()
    priority: int = 5
    tags: tuple[str, ...] = ()
    assignee: str = ""
    project_id: str = ""
    parent_id: str = ""
    depends_on: tuple[str, ...] = ()
    agent: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    timeout_s: int = 0
    ref: str = ""
    workflow: str = ""
    stall_timeout_s: int | None = None  # None: the project's or the host's; 0: never
    traceparent: str = ""  # of the call that filed it


@dataclass(frozen=True, slots=True)
class BootTiming:
    """Microseconds; see the proto of the same name."""

    tier: BootTier = BootTier.NONE
    boot_us: int = 0
    ready_us: int = 0
    agent_us: int = 0


@dataclass(frozen=True)
class Attempt:
    """One placement of a ticket on a host, from lease to end. Times are epoch seconds."""

    id: str
    ticket_id: str
    number: int
    fence: int
    host_id: str
    state: AttemptState
    assigned_at: float
    vm_id: str = ""
    cause: str = ""
    reason: str = ""
    branch: str = ""
    base: str = ""
    head: str = ""
    boot: BootTiming = field(default_factory=BootTiming)
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int = 0


@dataclass(frozen=True)
class Ticket:
    """A ticket as stored. `fence` is that of the last lease ever given; times are epoch seconds."""

    id: str
    key: str
    tenant_id: str
    spec: TicketSpec
    state: TicketState
    created_at: float
    updated_at: float
    state_reason: str = ""
    fence: int = 0
    attempts: int = 0
    host_id: str = ""
    attempt_id: str = ""
    lease_expires_at: float | None = None
    not_before: float = 0.0
    dead_letter: bool = False
    causes: tuple[str, ...] = ()
    pull_request_id: str = ""
    head: str = ""
    question: str = ""
    last_log: str = ""
    finished_at: float | None = None
