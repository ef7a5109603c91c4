"""Removes what nothing needs any more: idle VMs booted by hand, leftovers of VMs, files of attempts that are over."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hostd.errors import HostError
from hostd.messages import CleanupReport
from hostd.ports import VmHost

log = logging.getLogger("hostd.cleanup")

ARTIFACTS_KEPT_S = 7 * 86400


class IdleVms(Protocol):
    async def stop_idle(self, idle_s: float) -> tuple[str, ...]: ...


def stale_folders(root: Path, in_use: frozenset[str], now: float, kept_s: float = ARTIFACTS_KEPT_S) -> list[Path]:
    """Folders below `root` of attempts not `in_use`, untouched for `kept_s` seconds of wall clock."""
    return [path for path in sorted(root.iterdir()) if path.name not in in_use and now - path.lstat().st_mtime > kept_s]


class Cleaner:
    """One sweep at a time, on demand or every few minutes."""

    def __init__(
        self,
        host: VmHost,
        manual: IdleVms,
        artifacts: Path,
        in_use: Callable[[], frozenset[str]],
        idle_vm_s: float,
    ) -> None:
        self._host = host
        self._manual = manual
        self._artifacts = artifacts
        self._in_use = in_use
        self._idle_vm_s = idle_vm_s
        self._one = asyncio.Lock()

    async def sweep(self) -> CleanupReport:
        """Clean now; says what went."""
        async with self._one:
            idle = await self._manual.stop_idle(self._idle_vm_s)
            counts = await self._host.cleanup()
            stale = await asyncio.to_thread(self._remove_stale)
        return CleanupReport(
            vms=counts.vms + len(idle),
            namespaces=counts.namespaces,
            files=counts.files + len(stale),
            assignments=0,
            details=(*counts.details, *(f"stopped idle {vm_id}" for vm_id in idle), *stale),
        )

    def _remove_stale(self) -> tuple[str, ...]:
        stale = stale_folders(self._artifacts, self._in_use(), time.time())
        for path in stale:
            shutil.rmtree(path, ignore_errors=True)
        return tuple(f"removed artifacts of {path.name}" for path in stale)

    async def run(self, every_s: float) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                report = await self.sweep()
            except (HostError, OSError):
                log.exception("cleanup failed")
                continue
            if report.details:
                log.info("cleaned up", extra={"details": report.details})
