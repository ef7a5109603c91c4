"""The state directory: its lock, its folders, and files that are replaced whole or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from hostd.errors import ConfigError, StateDirBusyError

FOLDERS = ("images", "templates", "vms", "attempts", "run", "git", "bundles", "log", "artifacts")


class StateDir:
    """Owns the directory until `close`, by a lock that the kernel drops when the process ends."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = -1

    def open(self) -> None:
        """Create what is missing and lock it. `ConfigError`; `StateDirBusyError` names the process that holds it."""
        try:
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
            _expect_ours(self.root)
            self._lock = os.open(self.root / "hostd.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError([f"{self.root} cannot be used as state directory: {error.strerror}"]) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            self.close()
            raise StateDirBusyError(
                f"{self.root} is in use by hostd with pid {owner}; give this one its own"
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        for name in FOLDERS:
            (self.root / name).mkdir(exist_ok=True)

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _expect_ours(folder: Path) -> None:
    """What root does below it could be led astray by whoever else can put names there."""
    facts = folder.stat()
    if facts.st_uid not in {os.geteuid(), 0} or facts.st_mode & stat.S_IWOTH:
        raise ConfigError([f"{folder} belongs to another user, or all may write to it; choose another --state-dir"])


def write_atomic(path: Path, data: bytes, *, sync: bool = False, mode: int = 0o600) -> None:
    """Replace `path`; with `sync` the content survives a power loss."""
    temporary = path.with_name(f".{path.name}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
