"""Opaque ids: a type prefix and 26 characters that sort by time of making."""

from __future__ import annotations

import secrets
from collections.abc import Callable

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 26
RANDOM_BITS = 80
STEP_BITS = 40

_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_SHIFTS = range((LENGTH - 2) * 5, -1, -10)

_last = (0, 0)
_chance: Callable[[int], int] = secrets.randbits


def draw_from(chance: Callable[[int], int]) -> None:
    """Take so many random bits from elsewhere from now on; a simulation that replays needs the same ids again."""
    global _chance, _last
    _chance, _last = chance, (0, 0)


def new_id(prefix: str, now: float) -> str:
    """Make an id such as `tk_01j…`: 48 bits of milliseconds, 80 of chance; ids of one millisecond keep their order."""
    global _last  # noqa: PLW0603 - one process makes ids for one database, and they must not meet
    stamp = int(now * 1000)
    seen, number = _last
    number = number + 1 + _chance(STEP_BITS) if stamp == seen else _chance(RANDOM_BITS - 1)
    _last = (stamp, number)
    return f"{prefix}_{encode(stamp << RANDOM_BITS | number)}"


def least_id(prefix: str, now: float) -> str:
    """An id that sorts before all that are made from `now` on, and after all made earlier."""
    return f"{prefix}_{encode(max(int(now * 1000), 0) << RANDOM_BITS)}"


def encode(value: int) -> str:
    """Write up to 130 bits as Crockford base 32, most significant digit first."""
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])
