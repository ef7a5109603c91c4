"""Looks for byte strings in the memory of a process and in the files that it has open."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

CHUNK = 8 << 20
OVERLAP = 256

Needles = Mapping[str, Sequence[bytes]]


def find(pid: int, needles: Needles) -> set[str]:
    """Names of the needles in the private memory of a process: a guest's memory is part of its VMM's."""
    found: set[str] = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in _writable(pid):
            found |= _search(_pieces(memory.fileno(), start, end), needles, found)
    return found


def _writable(pid: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        span, rights, *_ = line.split()
        if rights.startswith("rw"):
            start, _, end = span.partition("-")
            yield int(start, 16), int(end, 16)


def open_files(pid: int) -> list[Path]:
    """Regular files that a process has open, also those without a name any more."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if path.is_file():
                found.append(path)
    return found


def find_in_files(paths: Iterable[Path], needles: Needles) -> set[str]:
    """Names of the needles in files; holes are skipped."""
    found: set[str] = set()
    for path in paths:
        with suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
            for start, end in _data(file.fileno()):
                found |= _search(_pieces(file.fileno(), start, end), needles, found)
    return found


def _data(fd: int) -> Iterator[tuple[int, int]]:
    size, position = os.fstat(fd).st_size, 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:
            return  # nothing but a hole up to the end
        position = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, position


def _pieces(fd: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        try:
            piece = os.pread(fd, min(CHUNK, end - start), start)
        except OSError:
            return  # a device's window
        if not piece:
            return
        yield piece
        start += len(piece) if start + len(piece) >= end else max(1, len(piece) - OVERLAP)


def _search(pieces: Iterable[bytes], needles: Needles, known: set[str]) -> set[str]:
    found: set[str] = set()
    for piece in pieces:
        for name, forms in needles.items():
            if name not in known | found and any(form in piece for form in forms):
                found.add(name)
    return found
