"""Asks each running VM for a sign of life; one that misses three in a row is given up, so that its work moves on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from hostd.errors import HostError
from hostd.ports import Vm, VmHost, VmState

log = logging.getLogger("hostd.health")

MISSES = 3


class Misses:
    """Counts missed signs of life in a row, by VM."""

    def __init__(self, limit: int = MISSES) -> None:
        self._limit = limit
        self._misses: dict[str, int] = {}

    def note(self, vm_id: str, *, alive: bool) -> bool:
        """True when this miss makes the VM unhealthy; once."""
        if alive:
            self._misses.pop(vm_id, None)
            return False
        self._misses[vm_id] = self._misses.get(vm_id, 0) + 1
        return self._misses[vm_id] == self._limit

    def keep(self, vm_ids: Iterable[str]) -> None:
        """Forget every other VM."""
        kept = set(vm_ids)
        self._misses = {vm_id: count for vm_id, count in self._misses.items() if vm_id in kept}

    def unhealthy(self) -> tuple[str, ...]:
        return tuple(vm_id for vm_id, count in self._misses.items() if count >= self._limit)


def alive(vm: Vm) -> bool:
    """True when the VMM still accounts for itself; a guest's silence is the attempt's own deadline."""
    try:
        vm.sample()
    except (HostError, OSError):
        return False
    return True


class Health:
    """`lose(vm_id, reason)` is called once for each VM that turns unhealthy."""

    def __init__(self, host: VmHost, lose: Callable[[str, str], None], every_s: float = 30.0) -> None:
        self._host = host
        self._lose = lose
        self._every_s = every_s
        self.misses = Misses()

    def probe(self) -> None:
        """One round over all running VMs."""
        running = [vm for vm in self._host.vms() if vm.state is VmState.RUNNING]
        self.misses.keep(vm.id for vm in running)
        for vm in running:
            if self.misses.note(vm.id, alive=alive(vm)):
                log.warning("VM is unhealthy", extra={"vm_id": vm.id})
                self._lose(vm.id, f"the VM gave no sign of life {MISSES} times in a row")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            self.probe()
