"""What may go from a cache that has outgrown its budget. Last use is the modification time of an entry."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FRESH_S: Final = 3600.0
"""Whoever shares the cache may need what was used so lately."""
GONE: Final = ".new-gone-"
BLOCK: Final = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder; `used_at` is wall clock."""

    path: Path
    size_bytes: int
    used_at: float


@dataclass(frozen=True, slots=True)
class Evicted:
    entries: tuple[Entry, ...] = ()
    too_large: str = ""

    @property
    def freed_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries)

    @property
    def details(self) -> tuple[str, ...]:
        gone = (f"evicted {entry.path.name} ({entry.size_bytes >> 20} MiB) from the cache" for entry in self.entries)
        return (*gone, *([self.too_large] if self.too_large else []))


def choose(entries: Iterable[Entry], budget_bytes: int, in_use: Collection[Path], now: float) -> list[Entry]:
    """Those to evict, least recently used first, until the rest fits; nothing in use, and nothing used lately."""
    found = sorted(entries, key=lambda entry: entry.used_at)
    over = sum(entry.size_bytes for entry in found) - budget_bytes
    chosen = []
    for entry in found:
        if over <= 0:
            break
        if entry.path not in in_use and now - entry.used_at >= FRESH_S:
            chosen.append(entry)
            over -= entry.size_bytes
    return chosen


def evict(paths: Sequence[Path], budget_mib: int, in_use: Collection[Path]) -> Evicted:
    """Bring a cache of these entries below its budget; 0 means that it has none. Blocking.

    Whoever opens an entry at the same time finds it whole or not at all.
    """
    for path in in_use:
        touch(path)
    if not budget_mib:
        return Evicted()
    now, entries = time.time(), list(map(entry_of, paths))
    chosen = choose(entries, budget_mib << 20, in_use, now)
    gone = tuple(entry for entry in chosen if remove(entry))
    left = sum(entry.size_bytes for entry in entries) - sum(entry.size_bytes for entry in gone)
    over = (left >> 20) - budget_mib
    return Evicted(gone, f"a cache is {over} MiB over its budget; all in it is in use" if over > 0 else "")


def entry_of(path: Path) -> Entry:
    return Entry(path, size_of(path), path.lstat().st_mtime)


def size_of(path: Path) -> int:
    """Bytes on disk that go with `path`; what has other names elsewhere counts in part. Gone meanwhile: nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                facts = Path(folder, name).lstat()
                total += facts.st_blocks * BLOCK // max(1, facts.st_nlink)
    return total


def touch(path: Path) -> None:
    """Note a use."""
    with suppress(OSError):
        os.utime(path)


def remove(entry: Entry) -> bool:
    """Whether it is gone, in one step for everybody else; not when somebody has used it since it was looked at."""
    aside = entry.path.with_name(GONE + entry.path.name)
    try:
        if entry.path.lstat().st_mtime != entry.used_at:
            return False
        entry.path.rename(aside)
    except OSError:
        return False
    shutil.rmtree(aside, ignore_errors=True)
    return True
