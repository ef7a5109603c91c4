"""Finds what belongs to no live VM, by name alone: also after the state directory was lost."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from hostd.pool.cgroup import Cgroups
from hostd.pool.slots import Slots, process_name
from hostd.ports import CleanupCounts

DEATH_S = 5.0
UNFINISHED_S = 3600.0


def vmms(scope: str) -> dict[int, str]:
    """VM id by pid of every VMM that a hostd of this scope started."""
    marker = f"guest={process_name(scope, '')}".encode()
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            ours = [word for word in words[:4] if word.startswith(marker)]
            if ours:
                found[int(path.name)] = ours[0].removeprefix(marker).decode(errors="replace")
    return found


async def remove(scope: str, known: AbstractSet[str], vms: Path, cgroups: Cgroups, slots: Slots) -> CleanupCounts:
    """End and remove every VM of this scope that is not `known`. A namespace goes with its VMM."""
    orphans = {pid: vm_id for pid, vm_id in (await asyncio.to_thread(vmms, scope)).items() if vm_id not in known}
    groups = cgroups.ids() - known
    # A VMM may have hidden its command line; the cgroup that it was started in it cannot leave.
    orphans |= {pid: vm_id for vm_id in groups for pid in cgroups.pids(vm_id)}
    await asyncio.to_thread(_end, list(orphans))
    folders = {path.name for path in await asyncio.to_thread(lambda: list(vms.glob("vm_*")))}
    leftovers = sorted((folders | groups | set(orphans.values())) - known)
    for vm_id in leftovers:
        await slots.forget(vm_id)
    details = [f"ended the VMM of {vm_id} (pid {pid})" for pid, vm_id in orphans.items()]
    details += [f"removed what was left of {vm_id}" for vm_id in leftovers if vm_id not in orphans.values()]
    ended = len(set(orphans.values()))
    files = len((folders | set(orphans.values())) - known)
    return CleanupCounts(vms=ended, namespaces=ended, files=files, cgroups=len(groups), details=tuple(details))


def unfinished(folders: Iterable[Path], now: float) -> tuple[str, ...]:
    """Remove what interrupted builds left. Younger than `UNFINISHED_S`, it may be somebody's work."""
    removed = []
    for path in (found for folder in folders for found in folder.glob(".new-*")):
        with suppress(OSError):
            if now - path.stat().st_mtime > UNFINISHED_S:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed.append(f"removed the unfinished {path}")
    return tuple(removed)


def _end(pids: list[int]) -> None:
    """Kill and wait; they may be children of an earlier hostd, so nobody is reaped here."""
    pidfds = []
    for pid in pids:
        with suppress(OSError):
            pidfds.append(os.pidfd_open(pid))
    for pidfd in pidfds:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    for pidfd in pidfds:
        select.select([pidfd], [], [], DEATH_S)
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        os.close(pidfd)
