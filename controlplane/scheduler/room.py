"""The free places of one plan: a view of the snapshot's buckets that placements eat up without touching them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.scheduler.demand import Shape, fits, minus
from controlplane.scheduler.feasible import refusal
from controlplane.scheduler.rank import HostRank, host_rank
from controlplane.scheduler.snapshot import BucketKey, Snapshot


@dataclass(slots=True)
class _Bucket:
    key: BucketKey
    untouched: Iterator[str]
    count: int
    moved: list[str]

    def take(self) -> str:
        self.count -= 1
        return self.moved.pop() if self.moved else next(self.untouched)


class Room:
    """One per plan; the snapshot must not change while it is used."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._real = snapshot.real
        self._buckets = {key: _Bucket(key, iter(hosts), len(hosts), []) for key, hosts in snapshot.buckets.items()}
        self._choices: dict[Shape, list[tuple[HostRank, int, BucketKey]]] = {}
        self._count = 0

    def take(self, shape: Shape, avoid: str = "") -> str | None:
        """The best host for one ticket of the shape, whose place is then gone; None when none has room.

        The host to `avoid` is the last resort.
        """
        bucket = self._best(shape)
        if bucket is None:
            return None
        host_id = bucket.take()
        if host_id == avoid and (other := self._best(shape)) is not None:
            host_id = other.take()
            self._put(avoid, bucket.key)
            bucket = other
        self._move(host_id, bucket.key, shape)
        return host_id

    def _best(self, shape: Shape) -> _Bucket | None:
        choices = self._choices.get(shape)
        if choices is None:
            choices = self._choices[shape] = []
            for key in self._buckets:
                self._offer(choices, shape, key)
        while choices:
            bucket = self._buckets[choices[0][2]]
            if bucket.count:
                return bucket
            heapq.heappop(choices)
        return None

    def _offer(self, choices: list[tuple[HostRank, int, BucketKey]], shape: Shape, key: BucketKey) -> None:
        kind, free = key
        if fits(shape.demand, free) and not refusal(shape, kind, real=self._real)[0]:
            self._count += 1  # ranks may tie, and keys have no order
            heapq.heappush(choices, (host_rank(kind, free), self._count, key))

    def _move(self, host_id: str, key: BucketKey, shape: Shape) -> None:
        self._put(host_id, (key[0], minus(key[1], shape.demand)))

    def _put(self, host_id: str, key: BucketKey) -> None:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(key, iter(()), 0, [])
        if not bucket.count:
            # New, or given up as empty by those who looked before.
            for known, choices in self._choices.items():
                self._offer(choices, known, key)
        bucket.moved.append(host_id)
        bucket.count += 1
