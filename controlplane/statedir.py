"""The state directory belongs to one process at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controlplane.errors import StartError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder where it is missing and holds it; `StartError` when another control plane does."""
    try:
        _make(folder)
        descriptor = os.open(folder / "controlplane.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise StartError(f"cannot use the state directory {folder}: {fault.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        raise StartError(f"{folder} is in use by the control plane with pid {owner or 'unknown'}") from None
    finally:
        os.close(descriptor)


def _make(folder: Path) -> None:
    """Others may pass through a new folder, since a host below it works without privileges, and list nothing in it."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        facts = folder.stat()
        if facts.st_uid not in {os.geteuid(), 0} or facts.st_mode & stat.S_IWOTH:
            raise StartError(f"{folder} belongs to another user, or all may write to it; choose another one") from None
        return
    folder.chmod(0o711)
