"""The free places of one plan: a view of the snapshot's pools that placements eat up without touching them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.domain.host import Capacity
from controlplane.scheduler.demand import Shape, fits, minus
from controlplane.scheduler.feasible import refusal
from controlplane.scheduler.rank import HostRank, host_rank
from controlplane.scheduler.snapshot import Snapshot

_MOVED = -1  # the place of a bucket that this plan made


@dataclass(slots=True)
class _Bucket:
    untouched: Iterator[str]
    count: int
    moved: list[str]

    def take(self) -> str:
        self.count -= 1
        return self.moved.pop() if self.moved else next(self.untouched)


# Rank, a number that makes the order total, the pool's number, what is free, and the place in the pool's ranking.
_Choice = tuple[HostRank, int, int, Capacity, int]


class Room:
    """One per plan; the snapshot must not change while it is used.

    A shape sees of each pool the best bucket that it fits in, and the next one when that is empty.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._real = snapshot.real
        self._pools = list(snapshot.pools)
        self._buckets: list[dict[Capacity, _Bucket]] = [{} for _ in self._pools]
        self._choices: dict[Shape, list[_Choice]] = {}
        self._count = 0

    def take(self, shape: Shape, avoid: str = "") -> str | None:
        """The best host for one ticket of the shape, whose place is then gone; None when none has room.

        The host to `avoid` is the last resort.
        """
        choice = self._best(shape)
        if choice is None:
            return None
        host_id = self._bucket(*choice).take()
        if host_id == avoid and (other := self._best(shape)) is not None:
            host_id = self._bucket(*other).take()
            self._move(avoid, *choice)
            choice = other
        number, free = choice
        self._move(host_id, number, minus(free, shape.demand))
        return host_id

    def _best(self, shape: Shape) -> tuple[int, Capacity] | None:
        """Pool and room of the best bucket that still holds a host."""
        choices = self._choices.get(shape)
        if choices is None:
            choices = self._choices[shape] = self._look(shape)
        while choices:
            _, _, number, free, place = choices[0]
            if self._bucket(number, free).count:
                return number, free
            heapq.heappop(choices)
            if place != _MOVED:
                self._offer_next(choices, shape, number, place + 1)
        return None

    def _look(self, shape: Shape) -> list[_Choice]:
        """Of each pool that suits the first bucket, and those that other shapes have left behind."""
        choices: list[_Choice] = []
        for number, pool in enumerate(self._pools):
            if refusal(shape, pool.kind, real=self._real)[0]:
                continue
            self._offer_next(choices, shape, number, 0)
            for free, bucket in self._buckets[number].items():
                if bucket.moved and fits(shape.demand, free):
                    self._offer(choices, number, free, _MOVED)
        return choices

    def _offer_next(self, choices: list[_Choice], shape: Shape, number: int, place: int) -> None:
        ranked = self._pools[number].ranked
        while place < len(ranked):
            free = ranked[place][-1]
            if fits(shape.demand, free):
                self._offer(choices, number, free, place)
                return
            place += 1

    def _offer(self, choices: list[_Choice], number: int, free: Capacity, place: int) -> None:
        self._count += 1
        heapq.heappush(choices, (host_rank(self._pools[number].kind, free), self._count, number, free, place))

    def _bucket(self, number: int, free: Capacity) -> _Bucket:
        known = self._buckets[number]
        if (bucket := known.get(free)) is None:
            hosts = self._pools[number].buckets.get(free, {})
            bucket = known[free] = _Bucket(iter(hosts), len(hosts), [])
        return bucket

    def _move(self, host_id: str, number: int, free: Capacity) -> None:
        bucket = self._bucket(number, free)
        if not bucket.count:
            # New, or given up as empty by those who looked before.
            pool = self._pools[number]
            for shape, choices in self._choices.items():
                if fits(shape.demand, free) and not refusal(shape, pool.kind, real=self._real)[0]:
                    self._offer(choices, number, free, _MOVED)
        bucket.moved.append(host_id)
        bucket.count += 1
