"""Asks each running VM for a sign of life; one that misses three in a row is given up, so that its work moves on.

Between two rounds anything that a guest does counts: under emulation on a busy machine an answer may take its time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import Final, Protocol

from hostd.errors import HostError
from hostd.ports import Vm, VmHealth, VmHost, VmState

log = logging.getLogger("hostd.health")

MISSES: Final = 3
REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True)
class Pulse:
    """Health of one VM. `asked`: a sign of life is awaited. `last_seen_ns` is wall clock, 0: never."""

    asked: bool = False
    misses: int = 0
    last_seen_ns: int = 0

    @property
    def health(self) -> VmHealth:
        if self.misses >= MISSES:
            return VmHealth.UNHEALTHY
        return VmHealth.HEALTHY if self.last_seen_ns else VmHealth.UNKNOWN

    def seen(self, now_ns: int) -> Pulse:
        """A sign of life; one that comes after the VM was given up changes nothing."""
        return self if self.misses >= MISSES else Pulse(last_seen_ns=max(now_ns, self.last_seen_ns))

    def missed(self) -> Pulse:
        return replace(self, asked=False, misses=self.misses + 1)


class Ward(Protocol):
    """What the rounds need of whoever has the VMs."""

    async def ask(self, vm: Vm) -> bool:
        """Have the guest give a sign of life. False: it has no work, so nobody is there to answer."""

    def lose(self, vm_id: str, reason: str) -> None:
        """The VM is unhealthy; called once."""


class Health:
    """The pulses of this host's VMs."""

    def __init__(self, host: VmHost, ward: Ward) -> None:
        self._host = host
        self._ward = ward
        self._pulses: dict[str, Pulse] = {}
        self._lost: dict[str, Pulse] = {}

    def pulse(self, vm_id: str) -> Pulse:
        """Also of a VM that was given up lately."""
        return self._pulses.get(vm_id) or self._lost.get(vm_id) or Pulse()

    def heard(self, vm_id: str, monotonic_ns: int) -> None:
        """The guest gave a sign of life then."""
        age = max(0, time.monotonic_ns() - monotonic_ns)
        self._pulses[vm_id] = self.pulse(vm_id).seen(time.time_ns() - age)

    async def round(self) -> None:
        """Judge what came since the last round, and ask again."""
        vms = self._host.vms()
        self._pulses = {vm.id: self.pulse(vm.id) for vm in vms}
        for vm in vms:
            await self._look(vm)

    async def _look(self, vm: Vm) -> None:
        pulse = self._pulses[vm.id]
        if vm.state is not VmState.RUNNING:  # paused, fenced, or not there yet: it cannot answer
            self._pulses[vm.id] = replace(pulse, asked=False)
            return
        if pulse.health is VmHealth.UNHEALTHY:
            return
        sampled = accounted(vm)
        if pulse.asked or not sampled:
            pulse = pulse.missed()
        if pulse.health is VmHealth.UNHEALTHY:
            self._give_up(vm, pulse)
            return
        self._pulses[vm.id] = replace(pulse, asked=True)
        if not await self._ward.ask(vm):
            self._pulses[vm.id] = pulse.seen(time.time_ns()) if sampled else pulse

    def _give_up(self, vm: Vm, pulse: Pulse) -> None:
        log.warning("VM is unhealthy", extra={"vm_id": vm.id})
        self._pulses[vm.id] = self._lost[vm.id] = pulse
        while len(self._lost) > REMEMBERED:
            del self._lost[next(iter(self._lost))]
        self._ward.lose(vm.id, f"the VM gave no sign of life {MISSES} times in a row")

    async def run(self, every_s: float) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.round()
            except HostError:
                log.exception("a health round failed")


def accounted(vm: Vm) -> bool:
    """Whether the VMM still accounts for itself."""
    try:
        vm.sample()
    except (HostError, OSError):
        return False
    return True
