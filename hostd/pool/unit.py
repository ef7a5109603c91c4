"""A VMM in its slot, and the shelf on which those of one template wait."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from ext.vmpool import VmPool
from hostd.drivers.port import Slot, Vmm
from hostd.pool.marks import Marks, Stock, rising
from hostd.templates.store import Sealed

_tokens = itertools.count()


@dataclass(eq=False, slots=True)
class Unit:
    """`sealed` is None for a cold boot. `ended` is set when the process is gone by itself."""

    slot: Slot
    vmm: Vmm
    sealed: Sealed | None
    token: int = field(default_factory=lambda: next(_tokens))
    ended: bool = False


class Shelf:
    """VMs of one template that nobody has taken yet."""

    def __init__(self, sealed: Sealed, marks: Marks, capacity: int) -> None:
        self.sealed = sealed
        self.size = sealed.manifest.identity.size
        self._marks = marks
        self._ready = VmPool(capacity)
        self._spawned = VmPool(capacity)
        self._units: dict[int, Unit] = {}
        self._filling = [True, True]
        self.ready_building = 0
        self.spawned_building = 0

    def __len__(self) -> int:
        return len(self._units)

    @property
    def total(self) -> int:
        """Units here and under construction."""
        return len(self._units) + self.ready_building + self.spawned_building

    def stock(self) -> Stock:
        """Counts for the water marks."""
        ready, spawned = len(self._ready), len(self._spawned)
        marks = self._marks
        self._filling = [
            rising(ready + self.ready_building, marks.ready_low, marks.ready_high, filling=self._filling[0]),
            rising(spawned + self.spawned_building, marks.spawned_low, marks.spawned_high, filling=self._filling[1]),
        ]
        return Stock(ready, spawned, self.ready_building, self.spawned_building, *self._filling)

    def count_build(self, change: int, *, ready: bool) -> None:
        """A unit is being built (+1), or is not any more (-1)."""
        if ready:
            self.ready_building += change
        else:
            self.spawned_building += change

    def offer(self, unit: Unit, *, ready: bool) -> bool:
        """Put a unit up for taking. False when it ended meanwhile or the shelf is closed."""
        if unit.ended:
            return False
        self._units[unit.token] = unit
        pool = self._ready if ready else self._spawned
        if pool.put(unit.token, unit.vmm.control):
            return True
        del self._units[unit.token]
        return False

    def take_ready(self) -> Unit | None:
        return self._take(self._ready)

    def take_spawned(self) -> Unit | None:
        return self._take(self._spawned)

    def withdraw(self, unit: Unit) -> bool:
        """Take out that very unit; False when somebody has taken it already."""
        if self._ready.take(unit.token) or self._spawned.take(unit.token):
            del self._units[unit.token]
            return True
        return False

    def close(self) -> list[Unit]:
        """Refuse every later unit; returns what was left."""
        self._ready.close()
        self._spawned.close()
        left = []
        while (unit := self.take_ready() or self.take_spawned()) is not None:
            left.append(unit)
        return left

    def _take(self, pool: VmPool) -> Unit | None:
        taken = pool.acquire()
        return None if taken is None else self._units.pop(taken[0])
