"""Scratch disks: an empty ext4 is made once per size, then cloned for each VM into a file without a name."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from hostd.images.command import run
from hostd.thread import make

MIB = 1 << 20
_FICLONE = 0x40049409
# No journal: the disk dies with its VM, and a fresh one stays a few hundred kilobytes.
_OPTIONS = ("-q", "-F", "-m", "0", "-L", "scratch", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard")


class Disks:
    """Pre-made file systems under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()

    async def clone(self, disk_mib: int) -> int:
        """Descriptor of a new disk. It has no name, so nothing is left of it once its VMM is gone."""
        source = await self._source(disk_mib)
        return await make(os.close, clone, source, self._folder)

    async def _source(self, disk_mib: int) -> Path:
        path = self._folder / f"empty-{disk_mib}.ext4"
        async with self._lock:
            if not await asyncio.to_thread(path.exists):
                await self._make(path, disk_mib)
        return path

    async def _make(self, path: Path, disk_mib: int) -> None:
        new = self._blank(disk_mib)
        try:
            await run(["mkfs.ext4", *_OPTIONS, str(new)], cwd=self._folder)
            os.replace(new, path)  # noqa: PTH105  # one rename does not block
        except BaseException:
            os.unlink(new)  # noqa: PTH108
            raise

    def _blank(self, disk_mib: int) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".new-", dir=self._folder, delete=False) as file:
            file.truncate(disk_mib * MIB)
        return Path(file.name)


def clone(source: Path, folder: Path) -> int:
    """Copy `source` into a nameless file on the same file system, sharing blocks where that is possible."""
    with source.open("rb") as original, tempfile.TemporaryFile(dir=folder) as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError:
            _copy_data(original.fileno(), copy.fileno())
        return os.dup(copy.fileno())


def _copy_data(source: int, target: int) -> None:
    """Copy what is not a hole."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    position = 0
    with suppress(OSError):  # ENXIO: no data behind this position
        while True:
            start = os.lseek(source, position, os.SEEK_DATA)
            position = os.lseek(source, start, os.SEEK_HOLE)
            _copy_range(source, target, start, position)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        data = os.pread(source, min(end - start, MIB), start)
        os.pwrite(target, data, start)
        start += len(data)
