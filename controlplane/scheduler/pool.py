"""Hosts of one kind that take work, by what of them is free."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

from controlplane.domain.host import Capacity
from controlplane.scheduler.feasible import Kind
from controlplane.scheduler.rank import free_share

Ranked = tuple[float, int, int, int, int, Capacity]


@dataclass(slots=True)
class Pool:
    """`ranked` holds what is free on the hosts, each once, the largest free part first."""

    kind: Kind
    buckets: dict[Capacity, dict[str, None]] = field(default_factory=dict)
    ranked: list[Ranked] = field(default_factory=list)
    size: int = 0

    def add(self, host_id: str, free: Capacity) -> None:
        bucket = self.buckets.get(free)
        if bucket is None:
            bucket = self.buckets[free] = {}
            insort(self.ranked, self._ranked(free))
        bucket[host_id] = None
        self.size += 1

    def remove(self, host_id: str, free: Capacity) -> None:
        bucket = self.buckets[free]
        del bucket[host_id]
        self.size -= 1
        if not bucket:
            del self.buckets[free]
            del self.ranked[bisect_left(self.ranked, self._ranked(free))]

    def _ranked(self, free: Capacity) -> Ranked:
        """Shares may tie; the numbers make the order total."""
        share = free_share(self.kind.capacity, free)
        return -share, -free.vms, -free.vcpus, -free.memory_mib, -free.disk_mib, free
