"""The bus of one process: topics that changed, coalesced per subscriber."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from weakref import WeakValueDictionary

# A subscriber that is further behind is told once that anything may have changed under its patterns.
MAX_PENDING = 4096


class LocalBus:
    """Lives on one event loop; `notify` and `subscribe` are called there. Notifying never waits and never fails."""

    def __init__(self) -> None:
        # In the order in which they came, so that a run can be repeated.
        self._subscribers: WeakValueDictionary[int, Subscription] = WeakValueDictionary()
        self._numbers = count()

    def notify(self, topics: Sequence[str]) -> None:
        for subscriber in tuple(self._subscribers.values()):
            subscriber.offer(topics)

    def subscribe(self, *topics: str) -> Subscription:
        """Begin at once: what is notified from now on is seen, even before the first turn of the iterator."""
        number = next(self._numbers)
        subscription = self._subscribers[number] = Subscription(topics, lambda: self._subscribers.pop(number, None))
        return subscription


class Subscription(AsyncIterator[frozenset[str]]):
    """An endless iterator over changed topics. `aclose()` ends it; so does dropping it."""

    def __init__(self, patterns: Sequence[str], leave: Callable[[], object]) -> None:
        self._exact = frozenset(one for one in patterns if not one.endswith("*"))
        self._prefixes = tuple(one[:-1] for one in patterns if one.endswith("*"))
        self._patterns = frozenset(patterns)
        self._leave = leave
        self._pending: set[str] = set()
        self._changed = asyncio.Event()
        self._closed = False

    def offer(self, topics: Sequence[str]) -> None:
        found = [one for one in topics if one in self._exact or one.startswith(self._prefixes)]
        if not found:
            return
        self._pending.update(found)
        if len(self._pending) > MAX_PENDING:
            self._pending = set(self._patterns)
        self._changed.set()

    async def __anext__(self) -> frozenset[str]:
        """Wait for the next change; StopAsyncIteration once closed."""
        while not self._pending and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        if self._closed:
            raise StopAsyncIteration
        topics, self._pending = frozenset(self._pending), set()
        return topics

    async def aclose(self) -> None:
        self._closed = True
        self._leave()
        self._changed.set()
