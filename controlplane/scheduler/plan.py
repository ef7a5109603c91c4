"""Who is placed where, as a value: reads the snapshot, changes nothing."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.scheduler.feasible import explain
from controlplane.scheduler.rank import TicketRank, ticket_rank
from controlplane.scheduler.room import Room
from controlplane.scheduler.snapshot import QueueKey, Snapshot


@dataclass(frozen=True, slots=True)
class Placement:
    ticket_id: str
    host_id: str


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_vms` over all hosts, 0: what they hold; `batch` bounds one plan, so that a commit stays short."""

    max_vms: int = 0
    batch: int = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """`refused` says of each queue that still holds tickets why; `more` that the batch was full before the work was."""

    placements: tuple[Placement, ...]
    refused: Mapping[QueueKey, str] = field(default_factory=dict)
    more: bool = False


def plan(snapshot: Snapshot, limits: Limits) -> Plan:
    """Places waiting tickets in order of rank while there is room. Retry delays: see `Snapshot.release_due`."""
    return _Planner(snapshot, limits).run()


class _Planner:
    def __init__(self, snapshot: Snapshot, limits: Limits) -> None:
        self.snapshot = snapshot
        self.limits = limits
        self.room = Room(snapshot)
        self.running = dict(snapshot.running)
        self.leased = snapshot.vms
        self.keys = list(snapshot.queues)
        self.queues = list(snapshot.queues.values())
        self.cursors = [0] * len(self.keys)
        self.placements: list[Placement] = []
        self.refused: dict[QueueKey, str] = {}

    def run(self) -> Plan:
        heap = [(self.rank(number), number) for number in range(len(self.keys))]
        heapq.heapify(heap)
        while heap and len(self.placements) < self.limits.batch:
            rank, number = heap[0]
            if (now := self.rank(number)) != rank:
                # Another queue of its project was served meanwhile. Ranks only grow, so looking again is enough.
                heapq.heapreplace(heap, (now, number))
            elif not self.place(number) or self.cursors[number] == len(self.queues[number]):
                heapq.heappop(heap)
        return Plan(tuple(self.placements), self.refused, more=bool(heap))

    def rank(self, number: int) -> TicketRank:
        entry = self.queues[number][self.cursors[number]]
        return ticket_rank(entry, self.running.get(self.keys[number][0], 0))

    def place(self, number: int) -> bool:
        """Places the first of a queue, or notes why nothing of the queue can be placed in this plan."""
        key = self.keys[number]
        project_key, shape = key
        reason = self.limit(key)
        ticket_id = self.queues[number][self.cursors[number]][3]
        host_id = None if reason else self.room.take(shape, self.snapshot.avoid.get(ticket_id, ""))
        if host_id is None:
            self.refused[key] = reason or self.explain(key)
            return False
        self.placements.append(Placement(ticket_id, host_id))
        self.cursors[number] += 1
        self.running[project_key] = self.running.get(project_key, 0) + 1
        self.leased += 1
        return True

    def limit(self, key: QueueKey) -> str:
        if self.limits.max_vms and self.leased >= self.limits.max_vms:
            return f"{self.limits.max_vms} VMs run, which is the limit"
        project = self.snapshot.projects.get(key[0])
        most = project.spec.max_concurrency if project else 0
        running = self.running.get(key[0], 0)
        return f"its project is at its limit of {most} at once" if most and running >= most else ""

    def explain(self, key: QueueKey) -> str:
        snapshot = self.snapshot
        return explain(key[1], snapshot.kinds, real=snapshot.real, closed=snapshot.closed)
