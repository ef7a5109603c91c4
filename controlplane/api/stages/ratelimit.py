"""Token buckets in memory, one per principal and rate tier."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from controlplane.domain.call import Principal, Role
from controlplane.errors import RateLimited

EXEMPT: Final = "exempt"
MOST_BUCKETS: Final = 10_000


@dataclass(slots=True)
class Bucket:
    tokens: float
    filled_at: float


class RateLimit:
    """Limits are calls per minute, which is also the burst; `admin` replaces the tiers for the embedded admin."""

    def __init__(
        self, per_minute: Mapping[str, int], *, admin: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = per_minute
        self._admin = admin
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def limit(self, principal: Principal, tier: str) -> int:
        return self._admin if principal.role is Role.ADMIN else self._limits[tier]

    def take(self, principal: Principal, tier: str) -> None:
        """Counts one call; `RateLimited` says when the next one has room."""
        if tier == EXEMPT:
            return
        now, limit = self._clock(), self.limit(principal, tier)
        bucket = self._bucket((principal.name, tier), now, limit)
        bucket.tokens = min(limit, bucket.tokens + (now - bucket.filled_at) * limit / 60)
        bucket.filled_at = now
        if bucket.tokens < 1:
            wait = (1 - bucket.tokens) * 60 / limit
            raise RateLimited(f"more than {limit} calls a minute; next in {wait:.1f} s", retry_after_s=wait)
        bucket.tokens -= 1

    def _bucket(self, key: tuple[str, str], now: float, limit: int) -> Bucket:
        if key not in self._buckets and len(self._buckets) >= MOST_BUCKETS:
            # Whoever was silent for a minute has a full bucket, which is what a new one is.
            self._buckets = {name: each for name, each in self._buckets.items() if now - each.filled_at < 60}  # noqa: PLR2004
        return self._buckets.setdefault(key, Bucket(limit, now))
