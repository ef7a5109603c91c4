"""Takes down used VMs in the background, in batches."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from hostd.failpoint import failpoint
from hostd.pool.slots import Slots
from hostd.pool.unit import Unit

GATHER_S = 0.02
DEATH_S = 10.0

log = logging.getLogger(__name__)


class Reaper:
    """Kills at once, cleans up later."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._waiting: list[Unit] = []
        self._task: asyncio.Task[None] | None = None

    def take(self, unit: Unit) -> None:
        """Hand over a unit that nobody else will touch any more."""
        unit.vmm.kill()
        self._waiting.append(unit)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="reaper")

    async def drain(self) -> None:
        """Wait until all that was handed over is gone."""
        while self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            batch, self._waiting = self._waiting, []
            try:
                await self._reap(batch)
            except OSError:
                log.exception("cleaning up %d VMs failed; `swarm cleanup` tries again", len(batch))

    async def _reap(self, batch: list[Unit]) -> None:
        await failpoint("reap_after_kill")
        with suppress(TimeoutError):
            async with asyncio.timeout(DEATH_S):
                await asyncio.gather(*(unit.vmm.exited() for unit in batch))
        for unit in batch:
            unit.vmm.close()
        await self._slots.drop([unit.slot for unit in batch])
