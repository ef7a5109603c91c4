"""After a restart: which attempts go on, which only wait for their result to be acknowledged, what is to be stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hostd.ports import Vm
from hostd.runner.journal import Entry, Phase


@dataclass(frozen=True, slots=True)
class Adoption:
    """`lost` attempts are reported by their absence in the hello; `manual` VMs go on; `stray` VMs must die."""

    running: tuple[tuple[Entry, Vm], ...]
    finished: tuple[Entry, ...]
    lost: tuple[Entry, ...]
    manual: tuple[Vm, ...]
    stray: tuple[Vm, ...]


def classify(entries: Sequence[Entry], vms: Sequence[Vm]) -> Adoption:
    """Match what was written down with what still runs."""
    by_id = {vm.id: vm for vm in vms}
    finished = tuple(entry for entry in entries if entry.phase is Phase.FINISHED)
    running = tuple(
        (entry, by_id[entry.vm_id]) for entry in entries if entry.phase is Phase.STARTED and entry.vm_id in by_id
    )
    kept = {entry.id for entry, _ in running} | {entry.id for entry in finished}
    owned = {vm.id for _, vm in running}
    return Adoption(
        running=running,
        finished=finished,
        lost=tuple(entry for entry in entries if entry.id not in kept),
        manual=tuple(vm for vm in vms if vm.attempt_id is None),
        stray=tuple(vm for vm in vms if vm.attempt_id is not None and vm.id not in owned),
    )
