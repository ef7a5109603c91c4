"""The scratch disk: checkout, home and temporary files lie on it, as a repository may be larger than the memory."""

from __future__ import annotations

import ctypes
import os

from .settings import Settings

DISK = "/dev/vdb"
FOLDERS = ("checkout", "agent", "home", "tmp")
_MS_NOATIME = 1024
_MS_BIND = 4096
_LIBC = ctypes.CDLL(None, use_errno=True)


def prepare(settings: Settings) -> None:
    """Mount the disk if there is one, and make the folders. `OSError`."""
    os.makedirs(settings.root, exist_ok=True)
    if not settings.plain and os.path.exists(DISK):
        mount(DISK, settings.root, "ext4", _MS_NOATIME)
    for name in FOLDERS:
        os.makedirs(f"{settings.root}/{name}", exist_ok=True)
    if not settings.plain:
        os.chmod(f"{settings.root}/tmp", 0o1777)  # noqa: S103, S108 - not the machine's /tmp
        for name, place in (("home", settings.home), ("tmp", settings.temporary)):
            os.makedirs(place, exist_ok=True)
            mount(f"{settings.root}/{name}", place, "", _MS_BIND)


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """The system call of that name. `OSError`."""
    if _LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"mount {source} on {target}: {os.strerror(errno)}")
