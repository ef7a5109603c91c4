"""Proof that a block of code leaves no descriptor and no child process behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def open_files() -> dict[int, str]:
    """What each descriptor of this process refers to."""
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own descriptor
            found[int(path.name)] = str(path.readlink())
    return found


def children() -> set[str]:
    """Process ids, zombies included, of the children of every thread."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ends right now has no children of its own
            found.update((task / "children").read_text().split())
    return found


@contextmanager
def nothing_left() -> Iterator[None]:
    files, before = open_files(), children()
    yield
    assert open_files() == files
    assert children() == before
