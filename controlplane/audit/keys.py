"""Keys of the audit log: a secret that is given, or a file of the state directory that is made at the first start."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from controlplane.domain.audit import Seals
from controlplane.errors import StartError
from controlplane.keyfile import create, expect_private
from controlplane.secret import Secrets, words

FILE: Final = "audit.key"
NAME: Final = "AUDIT_KEY"


def seals(given: Secrets, state_dir: Path) -> Seals:
    """Given keys come behind those of the file, which then only tell whether older rows are sound.

    `StartError` for a file that others can read.
    """
    secret, file = given.get(NAME), state_dir / FILE
    if secret is None and not file.exists():
        create(file, f"{secrets.token_hex(32)}\n".encode())
    return Seals.of([*(read(file) if file.exists() else ()), *(words(secret.reveal()) if secret else ())])


def read(file: Path) -> list[str]:
    try:
        expect_private(file, file.stat())
        return words(file.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as fault:
        raise StartError(f"{file} cannot be read: {getattr(fault, 'strerror', 'it is no text')}") from None
