"""What hostd and the control plane say to each other, as plain data. Only `hostd.link` knows the wire form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hostd.ports import BootTiming, Dependency, Image, Isolation, Template, VmHealth, VmSample, VmSize, VmState


@dataclass(frozen=True, slots=True)
class AttemptRef:
    """One attempt under one lease; `fence` grows with each lease of its ticket."""

    attempt_id: str
    ticket_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Capacity:
    vms: int
    vcpus: int
    memory_mib: int
    disk_mib: int


@dataclass(frozen=True, slots=True)
class Hello:
    name: str
    version: str
    boot_id: str
    capacity: Capacity
    drivers: tuple[str, ...]
    isolation: Isolation
    labels: Mapping[str, str]
    warnings: tuple[str, ...]
    attempts: tuple[AttemptRef, ...]
    images: tuple[str, ...]
    stream: int = 0


# From the host


@dataclass(frozen=True, slots=True)
class Renewal:
    nonce: int
    attempts: tuple[AttemptRef, ...]


@dataclass(frozen=True, slots=True)
class Started:
    attempt: AttemptRef
    vm_id: str
    boot: BootTiming


@dataclass(frozen=True, slots=True)
class Running:
    attempt: AttemptRef
    boot: BootTiming


@dataclass(frozen=True, slots=True)
class Answered:
    """Answer `number` is kept here until the attempt ends."""

    attempt: AttemptRef
    number: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing of the attempt is at work here any more."""

    attempt: AttemptRef


@dataclass(frozen=True, slots=True)
class AgentEvents:
    """`logs` > 0: only so many log lines, droppable. `gap` > 0: `batch` is empty and stands for as many dropped."""

    attempt: AttemptRef
    batch: bytes
    logs: int = 0
    gap: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """`outcome` is relayed unread; empty when the host ended the attempt for `cause`."""

    attempt: AttemptRef
    outcome: bytes = b""
    head: str = ""
    cause: str = ""
    reason: str = ""
    findings: tuple[str, ...] = ()
    blocked_calls: tuple[str, ...] = ()
    template_digest: str = ""
    base: str = ""


@dataclass(frozen=True, slots=True)
class VmRecord:
    """A VM as the control plane shows it; times are wall-clock nanoseconds, 0: not yet."""

    id: str
    state: VmState
    driver: str
    isolation: Isolation
    image: str
    template: str
    size: VmSize
    boot: BootTiming | None
    created_ns: int
    stopped_ns: int = 0
    ticket_id: str = ""
    attempt_id: str = ""
    sample: VmSample | None = None
    health: VmHealth = VmHealth.UNKNOWN
    last_seen_ns: int = 0
    misses: int = 0


@dataclass(frozen=True, slots=True)
class VmReport:
    vms: tuple[VmRecord, ...]
    used: Capacity


@dataclass(frozen=True, slots=True)
class Inventory:
    images: tuple[Image, ...]
    templates: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class CleanupReport:
    vms: int = 0
    namespaces: int = 0
    files: int = 0
    cgroups: int = 0
    cached: int = 0
    freed_bytes: int = 0
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A cleanup that nobody asked for; times are wall-clock nanoseconds. `error` empty: it was completed."""

    report: CleanupReport
    started_ns: int
    finished_ns: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class CommandUpdate:
    """Answer to a command; several per command, the last with `done`. `error_code` empty: success."""

    command_id: str
    fraction: float = 0.0
    message: str = ""
    done: bool = False
    error_code: str = ""
    error: str = ""
    vms: tuple[VmRecord, ...] = ()
    cleanup: CleanupReport | None = None


HostEvent = (
    Renewal
    | Started
    | Running
    | Answered
    | Stopped
    | AgentEvents
    | Finished
    | VmReport
    | Inventory
    | CommandUpdate
    | Cleaned
)


# From the control plane


@dataclass(frozen=True, slots=True)
class Welcome:
    host_id: str
    lease_ttl_s: float
    renew_every_s: float
    self_fence_s: float
    resume_from: int
    cordoned: bool
    reconnect_within_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Renewed:
    nonce: int
    attempts: tuple[AttemptRef, ...]
    stale: tuple[AttemptRef, ...]


@dataclass(frozen=True, slots=True)
class AgentBundle:
    name: str
    version: str
    digest: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One agent run of a workflow. `input` is a JSON object as text."""

    name: str
    description: str
    agent: AgentBundle
    needs: tuple[str, ...]
    input: str


@dataclass(frozen=True, slots=True)
class Repository:
    """`url` empty: the ticket has none."""

    url: str = ""
    default_branch: str = ""
    dependencies: tuple[Dependency, ...] = ()
    push_ref: str = ""
    base_ref: str = ""
    continue_from: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """`input` is a JSON object as text, which hostd only passes on. `timeout_s` 0: the host's own limit.

    With `steps`, in the order in which they run, `workflow` names them, and `agent` and `input` are empty.
    `stall_after_s` below 0: the host's own limit; 0: never. `traceparent` is W3C trace context, or empty.
    """

    attempt: AttemptRef
    ticket_key: str
    title: str
    description: str
    acceptance_criteria: tuple[str, ...]
    image: str
    size: VmSize
    agent: AgentBundle
    input: str
    repository: Repository
    test_command: str = ""
    timeout_s: int = 0
    project_id: str = ""
    number: int = 1
    workflow: str = ""
    steps: tuple[Step, ...] = ()
    stall_after_s: int = -1
    traceparent: str = ""

    @property
    def digests(self) -> tuple[str, ...]:
        """The bundles of its agents, each once."""
        agents = (self.agent, *(step.agent for step in self.steps))
        return tuple(dict.fromkeys(agent.digest for agent in agents if agent.digest))


@dataclass(frozen=True, slots=True)
class Revoke:
    attempt: AttemptRef
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """To question `number` of the attempt, counted from 1; may come more than once."""

    attempt: AttemptRef
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Cordon:
    cordoned: bool


@dataclass(frozen=True, slots=True)
class BootVms:
    count: int
    image: str


@dataclass(frozen=True, slots=True)
class PauseVm:
    vm_id: str


@dataclass(frozen=True, slots=True)
class ResumeVm:
    vm_id: str


@dataclass(frozen=True, slots=True)
class TerminateVm:
    vm_id: str


@dataclass(frozen=True, slots=True)
class BuildImage:
    name: str


@dataclass(frozen=True, slots=True)
class BakeTemplate:
    image: str
    size: VmSize


@dataclass(frozen=True, slots=True)
class VerifyTemplate:
    digest: str


@dataclass(frozen=True, slots=True)
class Cleanup:
    pass


@dataclass(frozen=True, slots=True)
class OpenConsole:
    vm_id: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A verb or event of a newer control plane."""


Verb = (
    BootVms
    | PauseVm
    | ResumeVm
    | TerminateVm
    | BuildImage
    | BakeTemplate
    | VerifyTemplate
    | Cleanup
    | OpenConsole
    | Unknown
)


@dataclass(frozen=True, slots=True)
class Command:
    command_id: str
    verb: Verb = field(default_factory=Unknown)


ControlEvent = Assignment | Renewed | Revoke | Answer | Command | Cordon | Unknown
