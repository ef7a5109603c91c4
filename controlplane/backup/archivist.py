"""Makes backups of the running control plane."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import secrets
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from controlplane.accounts.tokens import host_digests
from controlplane.backup import archive
from controlplane.backup.database import copy, examined, sha256_of
from controlplane.backup.manifest import DATABASE
from controlplane.domain.backup import BackupFile, Manifest, Piece
from controlplane.errors import DiskFull, SwarmError
from controlplane.failpoint import hit

TEMPORARY: Final = ".backup-"
LOOK_S: Final = 0.2
RETRY_S: Final = 60.0


class Archivist:
    """One copy at a time; the archive is streamed from a copy that has no name any more: nothing can be left."""

    def __init__(self, state_dir: Path, version: str) -> None:
        self._state_dir = state_dir
        self._version = version
        self._lock = asyncio.Lock()

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Progress, the bytes of a verified archive, and what it holds. DiskFull when there is no room for the copy."""
        yield Piece(0.0, "waiting")
        async with self._lock:
            state = _Copy(self._state_dir, self._version)
            work = asyncio.create_task(asyncio.to_thread(state.make))
            try:
                while not work.done():
                    await asyncio.wait((work,), timeout=LOOK_S)
                    yield Piece(state.fraction, state.step)
                manifest, content = work.result()
            except BaseException:
                # Whoever asked is gone: nobody else closes what the thread has opened, or still will.
                work.add_done_callback(_close)
                raise
            finally:
                state.stopped = True
                await asyncio.gather(work, return_exceptions=True)
        size, sent, digest = archive.size_of(manifest), 0, hashlib.sha256()
        with content:
            files: dict[str, IO[bytes]] = {DATABASE: content, **state.small}
            for data in archive.written(manifest, files):
                sent += len(data)
                digest.update(data)
                yield Piece(sent / size, "sending", data=data, size=size)
                await asyncio.sleep(0)
        yield Piece(1.0, "done", size=size, manifest=manifest, sha256=digest.hexdigest())


def _close(work: asyncio.Task[tuple[Manifest, IO[bytes]]]) -> None:
    if not work.cancelled() and work.exception() is None:
        work.result()[1].close()


class _Copy:
    """The part that runs in a thread."""

    def __init__(self, state_dir: Path, version: str) -> None:
        self._state_dir = state_dir
        self._version = version
        self.small: dict[str, IO[bytes]] = {}
        self.fraction = 0.0
        self.step = "copying"
        self.stopped = False

    def make(self) -> tuple[Manifest, IO[bytes]]:
        """The manifest, and the copied database open for reading."""
        source = self._state_dir / DATABASE
        if shutil.disk_usage(self._state_dir).free < source.stat().st_size:
            words = f"no room in {self._state_dir} for a copy of the database: free {source.stat().st_size >> 20} MiB"
            raise DiskFull(words, retry_after_s=RETRY_S)
        target = self._state_dir / f"{TEMPORARY}{secrets.token_hex(8)}"
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            copy(source, target, self._tell)
            hit("backup_copied")
            self.step = "verifying"
            found = examined(target)
            digest = sha256_of(target)
            content = target.open("rb")
        finally:
            for suffix in ("", "-journal", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    Path(f"{target}{suffix}").unlink()
        size = os.fstat(content.fileno()).st_size
        files = [BackupFile(DATABASE, size, digest), *self._hosts()]
        made = Manifest(self._version, found.schema, time.time(), found.epoch, found.rows, tuple(files))
        return made, content

    def _tell(self, fraction: float) -> None:
        if self.stopped:
            raise SwarmError("the backup was given up")
        self.fraction = fraction

    def _hosts(self) -> list[BackupFile]:
        """Hashes of the hosts' tokens: enough to know the hosts again, of no use to whoever finds the backup."""
        files = []
        for name, digest in sorted(host_digests(self._state_dir).items()):
            content = digest.encode() + b"\n"
            files.append(BackupFile(f"hosts/{name}.digest", len(content), hashlib.sha256(content).hexdigest()))
            self.small[files[-1].name] = io.BytesIO(content)
        return files
