"""A rate: so much per second, with a burst of two seconds."""

from __future__ import annotations

import time

_BURST_S = 2.0


class Bucket:
    """`take` never waits; it says whether the amount was free. An amount beyond the burst is measured by the burst."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._burst = per_second * _BURST_S
        self._level = self._burst
        self._time = time.monotonic()

    def take(self, amount: float, now: float | None = None) -> bool:
        now = time.monotonic() if now is None else now
        self._level = min(self._burst, self._level + (now - self._time) * self._rate)
        self._time = now
        if self._level < min(amount, self._burst):
            return False
        self._level -= amount
        return True
