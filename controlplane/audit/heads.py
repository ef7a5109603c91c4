"""Heads of the audit log in files outside the database: one JSON object a line, with `time`, `seq` and `mac`."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from controlplane.domain.audit import AuditHead
from controlplane.errors import StartError

TAIL_BYTES: Final = 4096


def append(file: Path, head: AuditHead, now: float) -> None:
    line = {"time": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"), "seq": head.seq, "mac": head.mac}
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        # A line that was cut off by a crash stays one of its own.
        torn = b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
        os.write(descriptor, torn + json.dumps(line).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def all_in(file: Path) -> list[AuditHead]:
    return parse(file.read_text(encoding="utf-8", errors="replace")) if file.exists() else []


def last_in(file: Path) -> AuditHead | None:
    """The newest head; `StartError` for a file of something else."""
    if not file.exists():
        return None
    with file.open("rb") as content:
        content.seek(max(0, file.stat().st_size - TAIL_BYTES))
        found = parse(content.read().decode(errors="replace"))
    return found[-1] if found else None


def parse(text: str) -> list[AuditHead]:
    """Heads, one a line, without lines that are cut off; `StartError` when no line is one."""
    lines = text.splitlines()
    found = [head for line in lines if (head := parsed(line))]
    if lines and not found:
        raise StartError("these are no heads of an audit log", reason="bad_head")
    return found


def parsed(line: str) -> AuditHead | None:
    try:
        data = json.loads(line)
        return AuditHead(int(data["seq"]), str(data["mac"]))
    except (ValueError, TypeError, KeyError):
        return None
