"""How many calls somebody may make: by tier of the method, for each key, user and address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Protocol

from controlplane import metrics
from controlplane.api.answer import told
from controlplane.domain.allowance import Allowance
from controlplane.domain.call import Principal, Role
from controlplane.errors import RateLimited
from controlplane.ratelimits.window import WINDOW_S, Window

EXEMPT: Final = "exempt"
FAILED: Final = "global"  # what calls with a credential that is none count as, for their address


class Shared(Protocol):
    """Counts for several processes; never fails."""

    async def take(self, key: str, limit: int) -> Allowance: ...


class RateLimit:
    """Limits are calls per minute; `admin` replaces those of all tiers for the embedded admin, who is no user."""

    def __init__(
        self, per_minute: Mapping[str, int], *, admin: int, window: Window | None = None, shared: Shared | None = None
    ) -> None:
        self._limits = per_minute
        self._admin = admin
        self._own = window or Window()
        self._shared = shared

    def limit(self, principal: Principal, tier: str) -> int:
        embedded = principal.role is Role.ADMIN and not principal.user_id
        return self._admin if embedded else self._limits[tier]

    async def take(self, principal: Principal, tier: str) -> None:
        """Counts one call, of the principal and of the user behind it; `RateLimited` says when the next has room."""
        if tier == EXEMPT:
            return
        limit = self.limit(principal, tier)
        found = await self._take(f"{tier}/{principal.name}", limit)
        owner = f"user:{principal.user_id}"
        if found.allowed and principal.user_id and principal.name != owner:
            user = await self._take(f"{tier}/{owner}", limit)
            found = min(found, user, key=lambda each: (each.allowed, each.remaining))
        tell(tier, found)
        if not found.allowed:
            metrics.RATE_LIMITED.labels(tier).inc()
            wait = max(0.001, found.reset_s)
            raise RateLimited(f"more than {limit} calls a minute; next in {wait:.1f} s", retry_after_s=wait)

    async def _take(self, key: str, limit: int) -> Allowance:
        return self._own.take(key, limit) if self._shared is None else await self._shared.take(key, limit)


def tell(tier: str, found: Allowance) -> None:
    """The headers that most clients know, and those of the draft that will replace them."""
    left, reset = found.remaining, math.ceil(found.reset_s)
    headers = told()
    headers["ratelimit-limit"] = str(found.limit)
    headers["ratelimit-remaining"] = str(left)
    headers["ratelimit-reset"] = str(reset)
    headers["ratelimit-policy"] = f'"{tier}";q={found.limit};w={WINDOW_S:.0f}'
    headers["ratelimit"] = f'"{tier}";r={left};t={reset}'
    if not found.allowed:
        headers["retry-after"] = str(max(1, reset))
