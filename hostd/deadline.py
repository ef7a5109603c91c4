"""A span of time that stands still while its VM is paused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Deadline:
    """Counts `seconds` down from creation or `resume`, not while paused."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic, *, paused: bool = False) -> None:
        self._clock = clock
        self._seconds = seconds
        self._left = seconds
        self._since = None if paused else clock()
        self._changed = asyncio.Event()

    def left(self) -> float:
        """Seconds until it expires; not below 0."""
        spent = 0.0 if self._since is None else self._clock() - self._since
        return max(0.0, self._left - spent)

    def restart(self) -> None:
        """Count from the beginning, if it counts at all."""
        self._left = self._seconds
        self._since = None if self._since is None else self._clock()
        self._changed.set()

    def pause(self) -> None:
        """Idempotent."""
        self._left, self._since = self.left(), None
        self._changed.set()

    def resume(self) -> None:
        """Idempotent."""
        if self._since is None:
            self._since = self._clock()
            self._changed.set()

    async def expired(self) -> None:
        """Return when the time is up."""
        while self._since is None or self.left() > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if self._since is None else self.left()):
                    await self._changed.wait()
            except TimeoutError:
                continue
