"""A moving window in memory: never more than the limit within any minute, however calls are spread."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from controlplane.domain.allowance import Allowance

WINDOW_S: Final = 60.0
MOST_KEYS: Final = 10_000


class Window:
    """Times of the calls of the last minute, by key. Of too many keys, those that were silent longest are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._calls: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, key: str, limit: int) -> Allowance:
        """Counts a call unless it is one too many."""
        now, calls = self._clock(), self._of(key)
        while calls and calls[0] <= now - WINDOW_S:
            calls.popleft()
        if allowed := len(calls) < limit:
            calls.append(now)
        return Allowance(limit, max(0, limit - len(calls)), calls[0] + WINDOW_S - now, allowed)

    def _of(self, key: str) -> deque[float]:
        calls = self._calls.get(key)
        if calls is None:
            calls = self._calls[key] = deque()
            if len(self._calls) > MOST_KEYS:
                self._calls.popitem(last=False)
        else:
            self._calls.move_to_end(key)
        return calls
