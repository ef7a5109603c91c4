"""What the control plane is told about VMs and inventory, unasked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from hostd import metrics
from hostd.errors import HostError
from hostd.health import Pulse
from hostd.messages import AttemptRef, Capacity, Inventory, VmRecord, VmReport
from hostd.ports import BootTiming, Vm, VmHost, VmSample, VmState
from hostd.runner.parts import Uplink

log = logging.getLogger("hostd.runner")

STOPPED_KEPT_NS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Known:
    """What the runner knows about a VM beside the VM itself."""

    boot: BootTiming | None
    attempt: AttemptRef | None


def vm_record(vm: Vm, host: VmHost, known: Known, pulse: Pulse) -> VmRecord:
    """`vm` as it is now."""
    return VmRecord(
        id=vm.id,
        state=vm.state,
        driver=vm.driver,
        isolation=host.isolation,
        image=vm.image,
        template=vm.template,
        size=vm.size,
        boot=known.boot,
        created_ns=vm.created_ns,
        ticket_id=known.attempt.ticket_id if known.attempt else "",
        attempt_id=known.attempt.attempt_id if known.attempt else vm.attempt_id or "",
        sample=_sample(vm),
        health=pulse.health,
        last_seen_ns=pulse.last_seen_ns,
        misses=pulse.misses,
    )


def _sample(vm: Vm) -> VmSample | None:
    if vm.state in {VmState.STARTING, VmState.STOPPED}:
        return None
    try:
        return vm.sample()
    except (HostError, OSError):
        return None


def used(records: Mapping[str, VmRecord]) -> Capacity:
    """Sum of what the VMs that have not stopped hold."""
    live = [record.size for record in records.values() if record.state is not VmState.STOPPED]
    return Capacity(
        vms=len(live),
        vcpus=sum(size.vcpus for size in live),
        memory_mib=sum(size.memory_mib for size in live),
        disk_mib=sum(size.disk_mib for size in live),
    )


class Reports:
    """Sends VM reports while there is something to report, and the inventory when it changed."""

    def __init__(
        self,
        host: VmHost,
        uplink: Uplink,
        known: Callable[[Vm], Known],
        pulse: Callable[[str], Pulse],
        every_s: float,
    ) -> None:
        self._host = host
        self._uplink = uplink
        self._known = known
        self._pulse = pulse
        self._every_s = every_s
        self._records: dict[str, VmRecord] = {}
        self._inventory: Inventory | None = None
        self._wake = asyncio.Event()

    def poke(self) -> None:
        """Something changed: report now, not at the next beat."""
        self._wake.set()

    def resend(self) -> None:
        """A new stream: the control plane may have forgotten everything."""
        self._inventory = None
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            try:
                self._report()
            except Exception:
                log.exception("report failed")
            try:
                async with asyncio.timeout(self._every_s):
                    await self._wake.wait()
                # Many changes come together: one report for all of them.
                await asyncio.sleep(0.05)
            except TimeoutError:
                continue

    def _report(self) -> None:
        if not self._uplink.up():
            return
        before = self._records
        self._records = self._collect(time.time_ns())
        states = Counter(record.state for record in self._records.values())
        for state in VmState:
            metrics.VMS.labels(state.value).set(states[state])
        if before or self._records:
            self._uplink.send(VmReport(tuple(self._records.values()), used(self._records)))
        inventory = Inventory(tuple(self._host.images()), tuple(self._host.templates()))
        if inventory != self._inventory:
            self._inventory = inventory
            self._uplink.send(inventory)

    def _collect(self, now: int) -> dict[str, VmRecord]:
        """VMs that live, and those that stopped within the last minute."""
        vms = self._host.vms()
        live = {vm.id: vm_record(vm, self._host, self._known(vm), self._pulse(vm.id)) for vm in vms}
        for vm_id, record in self._records.items():
            if vm_id in live:
                continue
            if not record.stopped_ns:
                live[vm_id] = self._ended(record, now)
            elif now - record.stopped_ns < STOPPED_KEPT_NS:
                live[vm_id] = record
        return live

    def _ended(self, record: VmRecord, now: int) -> VmRecord:
        """A VM that was given up as unhealthy shall be seen as such, although it ended right after."""
        pulse = self._pulse(record.id)
        ended = replace(record, state=VmState.STOPPED, stopped_ns=now)
        return replace(ended, health=pulse.health, misses=pulse.misses) if pulse.misses else ended
