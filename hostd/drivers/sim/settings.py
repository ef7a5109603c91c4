"""How simulated VMs behave."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hostd.ports import VmSize

DEFAULT_SIZE = VmSize(vcpus=1, memory_mib=256, disk_mib=1024)


@dataclass(frozen=True, slots=True)
class SimSettings:
    """Milliseconds, and probabilities from 0 to 1 drawn from a generator seeded with `seed`."""

    max_vms: int = 64
    # Play every ticket in process, also those that do not ask for it.
    instant: bool = False
    acquire_ms: float = 0.2
    boot_ms: float = 1.0
    run_ms: float = 0.0
    boot_failure_rate: float = 0.0
    # A VM that dies does so within this time of its start.
    death_rate: float = 0.0
    death_within_ms: float = 1000.0
    seed: int = 0
    images: tuple[str, ...] = ("default",)

    def random(self) -> random.Random:
        return random.Random(self.seed)  # noqa: S311  # reproducible on purpose
