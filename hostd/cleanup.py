"""Removes what nothing needs any more: idle VMs booted by hand, leftovers of VMs, files of attempts that are over."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

from hostd.errors import HostError
from hostd.messages import Cleaned, CleanupReport
from hostd.ports import CleanupCounts
from hostd.runner.parts import Parts

log = logging.getLogger("hostd.cleanup")

ARTIFACTS_KEPT_S = 7 * 86400


class IdleVms(Protocol):
    async def stop_idle(self, idle_s: float) -> tuple[str, ...]: ...


def stale_folders(root: Path, in_use: frozenset[str], now: float, kept_s: float = ARTIFACTS_KEPT_S) -> list[Path]:
    """Folders below `root` of attempts not `in_use`, untouched for `kept_s` seconds of wall clock."""
    return [path for path in sorted(root.iterdir()) if path.name not in in_use and now - path.lstat().st_mtime > kept_s]


def stale_files(places: Sequence[tuple[Path, str]], now: float, kept_s: float = ARTIFACTS_KEPT_S) -> list[Path]:
    """Files of these folders and patterns that nobody has touched for `kept_s` seconds."""
    found = [path for folder, pattern in places for path in sorted(folder.glob(pattern))]
    return [path for path in found if now - path.lstat().st_mtime > kept_s]


class Cleaner:
    """One sweep at a time, on demand or every few minutes."""

    def __init__(self, parts: Parts, manual: IdleVms, in_use: Callable[[], frozenset[str]], idle_vm_s: float) -> None:
        self._parts = parts
        self._manual = manual
        self._in_use = in_use
        self._idle_vm_s = idle_vm_s
        self._one = asyncio.Lock()

    async def sweep(self) -> CleanupReport:
        """Clean now; says what went."""
        async with self._one:
            idle = await self._manual.stop_idle(self._idle_vm_s)
            stopped = CleanupCounts(vms=len(idle), details=tuple(f"stopped idle {vm_id}" for vm_id in idle))
            counts = stopped + await self._parts.vms.cleanup()
            counts += await self._parts.repositories.cleanup(self._in_use())
            stale = await asyncio.to_thread(self._remove_stale)
            counts += CleanupCounts(files=len(stale), details=stale)
        return CleanupReport(**asdict(counts))

    def _remove_stale(self) -> tuple[str, ...]:
        folders = stale_folders(self._parts.artifacts, self._in_use(), time.time())
        for path in folders:
            shutil.rmtree(path, ignore_errors=True)
        files = stale_files(self._parts.leftovers, time.time())
        for path in files:
            path.unlink(missing_ok=True)
        return (*(f"removed artifacts of {path.name}" for path in folders), *(f"removed {path.name}" for path in files))

    async def run(self, every_s: float) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self._sweep_and_tell()

    async def _sweep_and_tell(self) -> None:
        report, error, started = CleanupReport(), "", time.time_ns()
        try:
            report = await self.sweep()
            # Not where somebody waits for the answer.
            packed = await self._parts.repositories.pack()
            report = replace(report, details=(*report.details, *packed))
        except (HostError, OSError) as fault:
            log.exception("cleanup failed")
            error = str(fault)[:500]
        if report.details:
            log.info("cleaned up", extra={"details": report.details})
        if self._parts.uplink.up():
            self._parts.uplink.send(Cleaned(report, started, time.time_ns(), error))
