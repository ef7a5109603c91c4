"""Keys of the audit log: a secret that is given, or a file of the state directory that is made at the first start."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from controlplane.domain.audit import Seals
from controlplane.errors import StartError
from controlplane.secret import Secrets, words

FILE: Final = "audit.key"
NAME: Final = "AUDIT_KEY"


def seals(given: Secrets, state_dir: Path) -> Seals:
    """Given keys come behind those of the file, which then only tell whether older rows are sound.

    `StartError` for a file that others can read.
    """
    secret, file = given.get(NAME), state_dir / FILE
    if secret is None and not file.exists():
        make(file)
    return Seals.of([*(read(file) if file.exists() else ()), *(words(secret.reveal()) if secret else ())])


def make(file: Path) -> None:
    """A new key; the file appears complete or not at all."""
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(f"{secrets.token_hex(32)}\n")
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(file)


def read(file: Path) -> list[str]:
    try:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise StartError(f"{file} can be read by others; run: chmod 600 {file}")
        return words(file.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as fault:
        raise StartError(f"{file} cannot be read: {getattr(fault, 'strerror', 'it is no text')}") from None
