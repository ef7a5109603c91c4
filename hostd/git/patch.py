"""Reads patches: which files are touched, which lines are added. Combined patches of merges too. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HUNK = re.compile(rb"(@{2,})((?: -[0-9]+(?:,[0-9]+)?)+) \+([0-9]+)(?:,[0-9]+)? @{2,}")
_ESCAPE = re.compile(rb'\\([0-7]{3}|[abfnrtv"\\])')
_LETTERS = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))


@dataclass(frozen=True, slots=True)
class Touched:
    """A file that the patch changes, by any name."""

    path: str


@dataclass(frozen=True, slots=True)
class Added:
    """A line that is in none of the parents; `line` counts from 1."""

    path: str
    line: int
    text: str


def read(patch: bytes) -> Iterator[Touched | Added]:
    """Items in the order of the patch."""
    path, number, columns = "", 0, 0
    for line in _lines(patch):
        if line.startswith(b"diff "):
            path, columns = _name(line), 0
            yield Touched(path)
        elif line.startswith(b"commit "):
            columns = 0
        elif hunk := _HUNK.match(line):
            number, columns = int(hunk[3]), len(hunk[1]) - 1
        elif columns and not line.startswith(b"\\"):
            marks = line[:columns]
            if b"-" in marks:
                continue
            if marks == b"+" * columns:
                yield Added(path, number, line[columns:].decode(errors="replace"))
            number += 1


def _lines(patch: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(patch):
        end = patch.find(b"\n", at)
        end = len(patch) if end < 0 else end
        yield patch[at:end]
        at = end + 1


def _name(line: bytes) -> str:
    """File of a line "diff --git a/NAME b/NAME" or "diff --cc NAME"; names with odd characters are quoted."""
    kind, _, rest = line.removeprefix(b"diff ").partition(b" ")
    if kind == b"--git":
        if rest.endswith(b'"'):
            rest = rest[rest.rfind(b' "b/') + 1 :]
            return _unquote(rest)[2:]
        return rest[len(rest) // 2 + 3 :].decode(errors="replace")  # both names are equal: renames are switched off
    return _unquote(rest)


def _unquote(name: bytes) -> str:
    if name.startswith(b'"'):
        name = _ESCAPE.sub(_unescape, name[1:-1])
    return name.decode(errors="replace")


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if len(code) > 1:
        return bytes([int(code, 8) & 255])
    return bytes([_LETTERS.get(code[0], code[0])])
