"""Who goes first, and where. Smaller ranks come first."""

from __future__ import annotations

from controlplane.domain.host import Capacity
from controlplane.scheduler.demand import UNLIMITED
from controlplane.scheduler.feasible import Kind

Entry = tuple[int, float, str, str]  # priority, created_at, key, ticket id: the order within one project
TicketRank = tuple[int, int, float, str]
HostRank = tuple[int, int, float]


def ticket_rank(entry: Entry, running: int) -> TicketRank:
    """Priority, then the project with the least running, then age."""
    priority, created_at, key, _ = entry
    return priority, running, created_at, key


def host_rank(kind: Kind, free: Capacity) -> HostRank:
    """Plain hosts before those that few tickets can do without (isolation, labels), then the least loaded.

    Spread, not packed: a VM that starts wants the processor to itself more than it wants neighbours.
    """
    return int(kind.isolation), len(kind.labels), -free_share(kind.capacity, free)


def free_share(capacity: Capacity, free: Capacity) -> float:
    """Free part of the scarcest resource, 0 to 1."""
    share = 1.0
    for left, whole in (
        (free.vms, capacity.vms),
        (free.vcpus, capacity.vcpus),
        (free.memory_mib, capacity.memory_mib),
        (free.disk_mib, capacity.disk_mib),
    ):
        if 0 < whole < UNLIMITED:
            share = min(share, left / whole)
    return share
