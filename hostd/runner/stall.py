"""Whether an attempt makes progress: that it runs, and that its link is alive, says nothing about that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from hostd.deadline import Deadline

# Share of one CPU that counts as computing.
BUSY = 0.05
# How many times the limit an attempt may compute without a word.
PATIENCE = 4


class Stall:
    """Expires after `limit_s` seconds without progress; 0: never.

    Progress is what the broker calls so: new output, new usage, a question, an artifact, git. A guest that only
    computes is given PATIENCE times the limit. The time stands still while the VM is held or a person is asked.
    """

    def __init__(self, limit_s: float, cpu_s: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._cpu_s = cpu_s
        self._quiet = Deadline(limit_s, clock, paused=True)
        self._silent = Deadline(limit_s * PATIENCE, clock, paused=True)
        self._computed = 0.0
        self._held = True
        self._asking = False

    def progressed(self, *, asking: bool = False) -> None:
        """Something new came; with `asking`, it is a person's turn."""
        self._asking = asking
        self._computed = self._cpu_s()
        self._quiet.restart()
        self._silent.restart()
        self._settle()

    def pause(self) -> None:
        """Idempotent."""
        self._held = True
        self._settle()

    def resume(self) -> None:
        """Idempotent."""
        self._held = False
        self._settle()

    def _settle(self) -> None:
        for deadline in (self._quiet, self._silent):
            if self._held or self._asking:
                deadline.pause()
            else:
                deadline.resume()

    async def expired(self) -> str:
        """Return why, when there was no progress for too long."""
        if not self._limit_s:
            await asyncio.Event().wait()
        while True:
            await self._quiet.expired()
            computed, self._computed = self._computed, self._cpu_s()
            if self._computed - computed < BUSY * self._limit_s:
                return f"nothing new for {self._limit_s:.0f} s"
            if not self._silent.left():
                return f"nothing new for {self._limit_s * PATIENCE:.0f} s, although it computed"
            self._quiet.restart()
