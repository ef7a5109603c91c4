"""The scratch disk: checkout, home and temporary files lie on it, as a repository may be larger than the memory."""

from __future__ import annotations

import ctypes
import os

from .settings import Settings

DISK = "/dev/vdb"
FOLDERS = ("checkout", "agent", "home", "tmp")
_ROOM = 1 << 20
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


def is_full(path: str) -> bool:
    """Whether hardly anything can be written to the disk below `path`: less than 1 MiB, or no file."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _ROOM or (disk.f_files > 0 and disk.f_ffree == 0)


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """The system call of that name. `OSError`."""
    if _LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"mount {source} on {target}: {os.strerror(errno)}")
