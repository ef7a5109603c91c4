"""Whether a series of measurements stays where it is: pure arithmetic."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]  # (seconds, value), in order of time

ENOUGH = 8
"""With fewer points nothing can be said."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What growth is allowed over a series: the larger of a share of where it began, and an absolute amount."""

    share: float
    amount: float

    def over(self, begin: float) -> float:
        return max(self.share * begin, self.amount)


@dataclass(frozen=True, slots=True)
class Trend:
    """`first` and `last` are the medians of the outer quarters, `fitted` the growth of the line through all points."""

    first: float
    last: float
    fitted: float

    def flat(self, bound: Bound) -> bool:
        """A leak shows in both; a lone peak, or a garbage collection that is due, only in one."""
        allowed = bound.over(self.first)
        return self.last - self.first <= allowed or self.fitted <= allowed


def trend(points: Points) -> Trend | None:
    """Of what comes after the first quarter of the time, in which caches fill; None when that is too little."""
    if not points:
        return None
    begin, end = points[0][0], points[-1][0]
    settled = [point for point in points if point[0] >= begin + (end - begin) / 4]
    if len(settled) < ENOUGH:
        return None
    quarter = max(1, len(settled) // 4)
    values = [value for _, value in settled]
    first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
    return Trend(first, last, slope(settled) * (settled[-1][0] - settled[0][0]))


def slope(points: Points) -> float:
    """Of the line through the points, by least squares; per second."""
    times = [at for at, _ in points]
    if len(set(times)) < 2:
        return 0.0
    return statistics.linear_regression(times, [value for _, value in points]).slope
