"""Starting a process as another user from a parent of 0.8 GB, until it runs its program."""

from __future__ import annotations

import mmap
import os
import resource
import subprocess
from collections.abc import Callable

from bench.measure import Row, clocked, in_turns
from ext.spawn import spawn

NAME = "spawn"
SUMMARY = "start an unprivileged process from a parent of 0.8 GB: ours, subprocess, posix_spawn"

RESIDENT = 800 << 20
NOBODY = 65534
PROGRAM = "/bin/true"
LIMIT = (resource.RLIMIT_NOFILE, (64, 64))


def resident() -> mmap.mmap:
    """Memory that a fork has to account for, page by page."""
    ballast = mmap.mmap(-1, RESIDENT, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    ballast.madvise(mmap.MADV_NOHUGEPAGE)
    for offset in range(0, RESIDENT, mmap.PAGESIZE):
        ballast[offset] = 1
    return ballast


def until_it_runs(start: Callable[[], int]) -> float:
    """Milliseconds until `start` returns the pid; the child is reaped off the clock."""
    pids: list[int] = []
    taken = clocked(lambda: pids.append(start()))
    os.waitpid(pids[0], 0)
    return taken


def ours() -> float:
    pidfds: list[int] = []

    def start() -> int:
        limits = [(LIMIT[0], *LIMIT[1])]
        pid, pidfd = spawn([PROGRAM.encode()], [], uid=NOBODY, gid=NOBODY, rlimits=limits)
        pidfds.append(pidfd)
        return pid

    taken = until_it_runs(start)
    os.close(pidfds[0])
    return taken


def confine() -> None:
    resource.setrlimit(*LIMIT)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def by_preexec_fn() -> float:
    started: list[subprocess.Popen[bytes]] = []
    taken = clocked(lambda: started.append(subprocess.Popen([PROGRAM], env={}, preexec_fn=confine)))  # noqa: PLW1509
    started[0].wait()
    return taken


def by_user() -> float:
    """Without the resource limit, which it cannot set."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(subprocess.Popen([PROGRAM], env={}, user=NOBODY, group=NOBODY, extra_groups=[]))

    taken = clocked(start)
    started[0].wait()
    return taken


def by_posix_spawn() -> float:
    return until_it_runs(lambda: os.posix_spawn(PROGRAM, [PROGRAM], {}))


def run(n: int) -> list[Row]:
    with resident():
        mine, preexec, user, posix = in_turns(n, ours, by_preexec_fn, by_user, by_posix_spawn)
    return [
        Row("spawn", "ms", mine, "subprocess, preexec_fn", preexec, ">= 50x"),
        Row("spawn", "ms", mine, "subprocess, user=", user, note="sets no limit"),
        Row("spawn", "ms", mine, "posix_spawn", posix, note="sets no user and no limit"),
    ]
