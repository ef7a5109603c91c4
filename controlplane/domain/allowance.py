"""What a rate limit leaves to somebody."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """Calls of the last minute against `limit`; after `reset_s` seconds there is room for one more than now."""

    limit: int
    remaining: int
    reset_s: float
    allowed: bool = True
