"""The same moving window in Redis, for all replicas together.

This process counts too, so that when Redis is away nobody gets more here than a limit of this process's own allows;
a call waits for Redis `PATIENCE_S` at most, and while it is away only one call in a while tries it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from controlplane import metrics
from controlplane.domain.allowance import Allowance
from controlplane.errors import Unavailable
from controlplane.ratelimits.window import Window
from controlplane.secret import Secret

log = logging.getLogger(__name__)

PATIENCE_S: Final = 0.1
AWAY_S: Final = 1.0
PREFIX: Final = "swarm"


class Shared:
    """`take` never fails: without Redis it answers for this process alone."""

    def __init__(self, url: Secret, own: Window, clock: Callable[[], float] = time.monotonic) -> None:
        self._own = own
        self._clock = clock
        self._away_until = -math.inf
        self._url = url
        self._connect()

    async def take(self, key: str, limit: int) -> Allowance:
        own = self._own.take(key, limit)
        if not own.allowed or self._clock() < self._away_until:
            return own
        # Whoever comes next does not wait: until this call is answered, Redis counts as away where it was.
        if self._away:
            self._away_until = self._clock() + AWAY_S
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await self._ask(key, limit)
        except (RedisError, OSError, TimeoutError) as fault:
            self._lost(fault)
            return own
        self._back()
        return found

    async def ping(self) -> None:
        """Unavailable while Redis is away."""
        try:
            await self._client.get(f"{PREFIX}/ping")
        except (RedisError, OSError, TimeoutError) as fault:
            raise Unavailable(f"Redis is away: {str(fault) or 'no answer in time'}") from None

    def renew(self, url: Secret | None) -> None:
        """Another server, or another password for it. Without one it stays as it is until the next start."""
        if url is None or url == self._url:
            return
        before, self._url = self._client, url
        self._connect()
        self._closing = asyncio.get_running_loop().create_task(before.aclose())

    async def close(self) -> None:
        await self._client.aclose()

    def _connect(self) -> None:
        self._client = Redis.from_url(self._url.reveal(), socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S)
        pool: Any = self._client.connection_pool  # the library's options are typed too narrowly
        storage = RedisStorage("async+redis://", implementation="redispy", connection_pool=pool, key_prefix=PREFIX)
        self._limiter = MovingWindowRateLimiter(storage)
        self._away = False

    async def _ask(self, key: str, limit: int) -> Allowance:
        item = RateLimitItemPerMinute(limit)
        allowed = await self._limiter.hit(item, key)
        reset, remaining = await self._limiter.get_window_stats(item, key)
        return Allowance(limit, remaining, max(0.0, reset - time.time()), allowed)

    def _lost(self, fault: Exception) -> None:
        self._away_until = self._clock() + AWAY_S
        if not self._away:
            self._away = True
            metrics.RATE_LIMIT_ALONE.set(1)
            log.warning("Redis is away, limits are counted here alone: %s", str(fault) or "no answer in time")

    def _back(self) -> None:
        self._away_until = -math.inf
        if self._away:
            self._away = False
            metrics.RATE_LIMIT_ALONE.set(0)
            log.info("Redis is back, limits are shared again")
