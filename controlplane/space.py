"""Watches the disk that the database is on: before it is full, new work is refused, so that what runs can end."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

from controlplane import metrics
from controlplane.errors import DiskFull
from controlplane.ports import Bus
from controlplane.tasks import end

LOOK_S: Final = 1.0
RETRY_S: Final = 5.0

log = logging.getLogger(__name__)


class DiskSpace:
    """`refusal` and `check` look at the last measurement, which is at most `LOOK_S` old."""

    def __init__(self, folder: Path, bus: Bus, *, min_free_bytes: int) -> None:
        self._folder = folder
        self._bus = bus
        self._least = min_free_bytes
        self._free = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def free_bytes(self) -> int:
        return self._free

    @property
    def refusal(self) -> str:
        """Why no new work is taken; empty: it is."""
        if self._free >= self._least:
            return ""
        free, least = self._free >> 20, self._least >> 20
        return f"the disk of {self._folder} has {free} MiB free, new work needs {least} MiB: free some space there"

    def check(self) -> None:
        """Refuse new work with `DiskFull` while there is too little space."""
        if refusal := self.refusal:
            raise DiskFull(refusal, retry_after_s=RETRY_S)

    def look(self) -> None:
        """Measure now. Whoever waits for a place is woken when there is space again."""
        before = self.refusal
        found = os.statvfs(self._folder)
        self._free = found.f_bavail * found.f_frsize
        metrics.DISK_FREE.set(self._free)
        metrics.DISK_FULL.set(bool(self.refusal))
        if before and not self.refusal:
            log.info("there is space on the disk again", extra={"free_bytes": self._free})
            self._bus.notify(("settings",))
        elif self.refusal and not before:
            log.error("new work is refused: %s", self.refusal)

    async def start(self) -> None:
        self._free = self._least
        self.look()
        self._task = asyncio.create_task(self._run(), name="disk space")

    async def stop(self) -> None:
        await end(self._task)
        self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.look()
            except OSError as fault:
                log.warning("the disk cannot be measured: %s", fault)
