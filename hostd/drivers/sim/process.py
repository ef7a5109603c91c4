"""The guest runtime as a plain process with a folder of its own; found again by pid and start time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hostd.ports import VmSample

RUNTIME = Path(__file__).resolve().parents[2] / "guest" / "__main__.py"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """`start_ticks` tells it from a later process with the same pid."""

    pid: int
    start_ticks: int


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name: state first. Empty: no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def identify(pid: int) -> Process:
    fields = _stat(pid)
    return Process(pid, int(fields[19]) if fields else 0)


def lives(process: Process) -> bool:
    fields = _stat(process.pid)
    return bool(fields) and fields[0] not in "ZX" and int(fields[19]) == process.start_ticks


def tree(pid: int) -> Sequence[int]:
    """`pid` and its descendants, parents first."""
    found = [pid]
    for parent in found:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
        except OSError:
            continue
        found += map(int, children)
    return found


def signal_tree(process: Process, number: signal.Signals) -> None:
    """Send to the process and all its descendants; those that are gone do not matter."""
    if not lives(process):
        return
    for pid in tree(process.pid):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def kill_tree(process: Process) -> None:
    """Stop first, so that nothing is born while the descendants are being collected."""
    signal_tree(process, signal.SIGSTOP)
    signal_tree(process, signal.SIGKILL)


def kill_strays(folder: Path, known: frozenset[str] = frozenset()) -> None:
    """End what stands below `folder`, deleted or not, but in the subfolders that are `known`.

    What a guest started outlives the guest when that is killed: a machine would have taken it along.
    """
    for path in Path("/proc").glob("[0-9]*"):
        try:
            place = Path(str((path / "cwd").readlink()).removesuffix(" (deleted)"))
        except OSError:
            continue
        if place.is_relative_to(folder) and not known.intersection(place.relative_to(folder).parts[:1]):
            kill_tree(identify(int(path.name)))


async def spawn(root: Path, port: int, bell: int) -> Process:
    """Start the runtime with nothing of hostd's environment."""
    env = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": str(root),
        "SWARM_PLAIN": "1",
        "SWARM_BROKER": f"127.0.0.1:{port}",
        "SWARM_BELL": f"127.0.0.1:{bell}",
        "SWARM_ROOT": str(root),
    }
    with (root / "console.log").open("ab") as log:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(RUNTIME),
            env=env,
            cwd=root,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return identify(child.pid)


async def ended(process: Process) -> None:
    """Return when it is gone, our child or not."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(pidfd, gone.set)
    try:
        if lives(process):
            await gone.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def sample(process: Process, time_ns: int) -> VmSample:
    """Usage of the runtime and its live descendants."""
    cpu, resident = 0.0, 0
    for pid in tree(process.pid) if lives(process) else ():
        if fields := _stat(pid):
            cpu += (int(fields[11]) + int(fields[12])) / TICKS
            resident += int(fields[21]) * PAGE
    return VmSample(time_ns, cpu, resident, resident, 0, 0)
