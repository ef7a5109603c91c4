"""The manifest as JSON: written by us, and read as what anybody may have made."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any, Final

from controlplane.domain.backup import FORMAT, BackupFile, Manifest
from controlplane.errors import StartError

MANIFEST: Final = "manifest.json"
DATABASE: Final = "controlplane.db"
MOST_BYTES: Final = 1 << 20
_FILE: Final = re.compile(r"controlplane\.db|hosts/[a-z0-9][a-z0-9._-]{0,62}\.digest")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def encode(manifest: Manifest) -> bytes:
    return json.dumps(asdict(manifest), indent=1, sort_keys=True).encode() + b"\n"


def decode(content: bytes) -> Manifest:
    """The manifest, or StartError for one that is not ours."""
    try:
        data: Any = json.loads(content)
        if data["format"] != FORMAT:
            raise bad(f"it has format {data['format']!r}, this version reads {FORMAT}")
        files = tuple(_file(each) for each in data["files"])
        named = {name: _typed(data[name], kind) for name, kind in _FIELDS}
    except (ValueError, TypeError, KeyError, RecursionError, UnicodeDecodeError) as fault:
        raise bad(f"its manifest is not readable: {type(fault).__name__} {fault}") from None
    if [each.name for each in files].count(DATABASE) != 1 or len({each.name for each in files}) != len(files):
        raise bad("its manifest does not name one database")
    rows = {str(name): _typed(count, int) for name, count in named.pop("rows").items()}
    return Manifest(**named, rows=rows, files=files)


_FIELDS: Final = (("version", str), ("schema", str), ("created_at", float), ("epoch", int), ("rows", dict))


def _typed(value: Any, kind: type) -> Any:
    if kind is float and isinstance(value, int):
        value = float(value)
    if type(value) is not kind or (isinstance(value, int) and not 0 <= value < 1 << 53):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _file(data: Any) -> BackupFile:
    """A file under one of the few names that belong into a backup: no path leads anywhere else."""
    found = BackupFile(_typed(data["name"], str), _typed(data["size"], int), _typed(data["sha256"], str))
    if not _FILE.fullmatch(found.name) or not _SHA256.fullmatch(found.sha256):
        raise ValueError(f"{found.name!r} does not belong into a backup")
    return found


def bad(why: str) -> StartError:
    return StartError(f"this is no backup that can be used: {why}", reason="bad_backup")
