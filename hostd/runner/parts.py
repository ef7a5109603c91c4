"""What the runner is put together from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hostd.messages import HostEvent
from hostd.ports import Broker, Limits, Repositories, Vm, VmHost
from hostd.runner.journal import Journal
from hostd.runner.vacancy import Vacancy


class Uplink(Protocol):
    """The link as the runner sees it."""

    def send(self, event: HostEvent, acked: Callable[[], None] | None = None) -> None: ...
    def up(self) -> bool: ...


class BundleSource(Protocol):
    async def fetch(self, digest: str) -> Path:
        """Path of the verified tar. `BundleError`."""


class Consoles(Protocol):
    async def relay(self, command_id: str, vm: Vm) -> None:
        """Carry a console session until it ends."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    prepare: float = 1800.0
    boot: float = 90.0
    attempt: float = 86400.0
    # Without progress, for attempts that name no limit; 0: never.
    stall: float = 1800.0
    # How long a result may still be on its way when the VM has already ended.
    outcome_grace: float = 1.0
    stop: float = 3.0
    # How long a full host may take to end a VM whose attempt is over.
    vacancy: float = 10.0


@dataclass(frozen=True, slots=True)
class Parts:
    """`gate` returns when the lease is good."""

    vms: VmHost
    broker: Broker
    repositories: Repositories
    bundles: BundleSource
    uplink: Uplink
    consoles: Consoles
    journal: Journal
    gate: Callable[[], Awaitable[None]]
    artifacts: Path
    leftovers: Sequence[tuple[Path, str]] = ()
    default_image: str = "default"
    limits: Limits = field(default_factory=Limits)
    timing: Timing = field(default_factory=Timing)
    vacancy: Vacancy = field(default_factory=Vacancy)
