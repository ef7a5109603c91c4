"""How the broker becomes unprivileged, before it serves anything. Irreversible."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_CLEAR_ALL = 4
_OPEN_FILES = 65536


def become(uid: int, gid: int) -> None:
    """Take on a user and group with no capability and no way to gain one. `OSError` names the step."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _raise_files()
    if os.geteuid() == 0:
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
        for capability in range(last + 1):
            _prctl(_PR_CAPBSET_DROP, capability)
        _prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    os.umask(0o027)


def die_with_parent() -> None:
    """Have the kernel end this process when the one that made it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _raise_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _prctl(option: int, argument: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl({option}, {argument}): {os.strerror(errno)}")
