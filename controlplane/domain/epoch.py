"""Epochs: each restore of a backup begins a new one, and what it numbers meets nothing of the time line that was lost.

A backup knows nothing of what was given out after it, so an epoch follows from the clock as well as from the last one:
the same backup restored twice, on whatever machine, begins two epochs, as long as an hour lies between them.
"""

from __future__ import annotations

from typing import Final

SETTING: Final = "epoch"
BEGINNING: Final = 1_767_225_600.0  # 2026-01-01
HOUR_S: Final = 3600.0
FENCES: Final = 1 << 20  # of one ticket, given out in one epoch
NUMBERS: Final = 10_000  # of one tenant or project, given out in one epoch: so many an hour, on the average


def following(known: int, now: float) -> int:
    """The epoch that begins now, after those up to `known`; hours since 2026 unless the clock is behind."""
    return max(known + 1, int((now - BEGINNING) // HOUR_S))


def next_fence(fence: int, epoch: int) -> int:
    """The fence of a new lease after `fence`."""
    return max(fence, epoch * FENCES) + 1


def next_number(number: int, epoch: int) -> int:
    """What a counter that stood at `number` when the backup was made goes on from."""
    return max(number + NUMBERS, epoch * NUMBERS)
