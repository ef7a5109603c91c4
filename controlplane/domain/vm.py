"""VMs as hosts report them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from controlplane.domain.ticket import BootTiming, Isolation


class VmState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class VmSample:
    time: float
    cpu_seconds: float
    memory_bytes: int
    private_bytes: int
    read_bytes: int
    write_bytes: int


@dataclass(frozen=True, slots=True)
class Vm:
    id: str
    host_id: str
    state: VmState
    driver: str
    isolation: Isolation
    image: str
    template: str
    vcpus: int
    memory_mib: int
    disk_mib: int
    created_at: float
    ticket_id: str = ""
    attempt_id: str = ""
    boot: BootTiming = field(default_factory=BootTiming)
    stopped_at: float | None = None
    sample: VmSample | None = None
