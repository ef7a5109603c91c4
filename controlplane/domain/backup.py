"""What a backup says of itself, and the pieces in which it is handed out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class BackupFile:
    """A file of the archive; `sha256` in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`version` is the program's, `schema` the newest migration; `rows` by table. Times are epoch seconds."""

    version: str
    schema: str
    created_at: float
    epoch: int
    rows: Mapping[str, int] = field(default_factory=dict)
    files: tuple[BackupFile, ...] = ()
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Piece:
    """Progress of a step, then bytes of the archive; the last piece has the manifest and the hash of all bytes."""

    fraction: float
    step: str
    data: bytes = b""
    size: int = 0
    manifest: Manifest | None = None
    sha256: str = ""
