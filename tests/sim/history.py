"""What was seen during a run, in order: every act of a client, every message that a host saw or sent, every fault."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class History:
    """Append-only. Equal runs have equal hashes."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._hash = hashlib.sha256()
        self.entries: list[Entry] = []
        self.count: Counter[str] = Counter()
        self._closed = False

    def note(self, op: str, **fields: Any) -> None:
        """`op` is "who.what", such as "host.hear"."""
        if self._closed:
            return
        entry = {"t": round(self._now(), 6), "op": op, **{name: _once(value) for name, value in fields.items()}}
        self._hash.update(_line(entry))
        self.entries.append(entry)
        self.count[op] += 1

    def close(self) -> None:
        """What comes now is only the clearing up."""
        self._closed = True

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def of(self, *ops: str) -> Iterator[Entry]:
        return (entry for entry in self.entries if entry["op"] in ops)

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            file.writelines(map(_line, self.entries))

    def about(self, word: str, last: int = 40) -> list[str]:
        """The last lines that name something."""
        lines = [_line(entry).decode().rstrip() for entry in self.entries]
        return [line for line in lines if word in line][-last:]


def _once(value: Any) -> Any:
    """Ids and states come again and again, each time as a string of its own."""
    return sys.intern(value) if type(value) is str else value


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"
