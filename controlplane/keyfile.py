"""Files with keys and tokens: nobody but the owner reads one, and one appears complete or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from controlplane.errors import StartError


def create(path: Path, content: bytes) -> None:
    """Replaces what is there; it is on the disk when this returns."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def expect_private(path: Path, facts: os.stat_result) -> None:
    """`StartError` for a file that others can read."""
    if stat.S_IMODE(facts.st_mode) & 0o077:
        raise StartError(f"{path} can be read by others; run: chmod 600 {path}")
