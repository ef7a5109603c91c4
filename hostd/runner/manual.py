"""VMs booted by hand: no attempt, no lease, no capability at the broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hostd.ports import BootTiming, Vm, VmHost, VmRequest
from hostd.runner.holds import Hold, Holds


@dataclass(slots=True)
class ManualVm:
    vm: Vm
    boot: BootTiming | None
    holds: Holds = field(default_factory=Holds)
    touched: float = field(default_factory=time.monotonic)


class ManualVms:
    """Registry of this host's manual VMs."""

    def __init__(self, host: VmHost) -> None:
        self._host = host
        self._vms: dict[str, ManualVm] = {}

    def adopt(self, vm: Vm) -> None:
        self._vms[vm.id] = ManualVm(vm, None)

    def get(self, vm_id: str) -> ManualVm | None:
        """Also counts as a use of it."""
        manual = self._vms.get(vm_id)
        if manual:
            manual.touched = time.monotonic()
        return manual

    async def boot(self, count: int, image: str) -> Sequence[ManualVm]:
        """All or none. `HostError`."""
        results = await asyncio.gather(*(self._boot(image) for _ in range(count)), return_exceptions=True)
        booted = [result for result in results if isinstance(result, ManualVm)]
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            await asyncio.gather(*(manual.vm.stop() for manual in booted))
            raise errors[0]
        self._vms |= {manual.vm.id: manual for manual in booted}
        return booted

    async def _boot(self, image: str) -> ManualVm:
        vm = await self._host.acquire(VmRequest(image))
        try:
            return ManualVm(vm, await vm.start())
        except BaseException:
            await vm.stop()
            raise

    async def hold(self, manual: ManualVm, *, paused: bool) -> None:
        if paused:
            manual.holds.add(Hold.OPERATOR)
        else:
            manual.holds.discard(Hold.OPERATOR)
        await manual.holds.settle(manual.vm)

    async def stop(self, manual: ManualVm) -> None:
        self._vms.pop(manual.vm.id, None)
        await manual.vm.stop()

    async def stop_idle(self, idle_s: float) -> tuple[str, ...]:
        """Stop those that nobody has touched for `idle_s`; returns their ids."""
        now = time.monotonic()
        idle = [manual for manual in self._vms.values() if now - manual.touched > idle_s]
        await asyncio.gather(*(self.stop(manual) for manual in idle))
        return tuple(manual.vm.id for manual in idle)

    async def stop_all(self) -> None:
        await asyncio.gather(*(self.stop(manual) for manual in tuple(self._vms.values())))

    def timing(self, vm_id: str) -> BootTiming | None:
        manual = self._vms.get(vm_id)
        return manual.boot if manual else None
