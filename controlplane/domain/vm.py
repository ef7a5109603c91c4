"""VMs as hosts report them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum

from controlplane.domain.ticket import BootTiming, Isolation


class VmState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class VmHealth(StrEnum):
    """Unknown: no sign of life yet, or nobody there to tell."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


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
    health: VmHealth = VmHealth.UNKNOWN
    last_seen_at: float | None = None
    misses: int = 0


def shown(vm: Vm, connected: Collection[str]) -> Vm:
    """The VM as far as anybody can know: what a host said before it went away says nothing of now."""
    away = vm.state is not VmState.STOPPED and vm.host_id not in connected
    return replace(vm, health=VmHealth.UNKNOWN) if away else vm


def ailing(vm: Vm, connected: Collection[str]) -> bool:
    """Whether it is unhealthy, or runs on a host that is away."""
    away = vm.state is not VmState.STOPPED and vm.host_id not in connected
    return away or vm.health is VmHealth.UNHEALTHY
