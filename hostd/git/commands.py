"""What a push asks for: ref updates and capabilities of git's receive-pack protocol. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hostd.git.refname import ZERO

CAPABILITIES = "report-status side-band-64k ofs-delta quiet object-format=sha1 agent=swarm"
_COMMAND = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) ([\x21-\xff]{1,1024})")


class CommandError(ValueError):
    """A command section that no correct git sends."""


@dataclass(frozen=True, slots=True)
class Update:
    """`old` and `new` are object ids; forty zeros mean absent."""

    old: str
    new: str
    ref: str


@dataclass(frozen=True, slots=True)
class Push:
    updates: tuple[Update, ...]
    capabilities: frozenset[str]


def parse(lines: Sequence[bytes]) -> Push:
    """The lines before the pack."""
    updates: list[Update] = []
    capabilities: frozenset[str] = frozenset()
    for index, line in enumerate(lines):
        text, _, rest = line.partition(b"\0") if index == 0 else (line, b"", b"")
        match = _COMMAND.fullmatch(text.rstrip(b"\n"))
        if not match:
            raise CommandError("a command is OLD NEW REF; shallow and signed pushes are not taken")
        if index == 0:
            capabilities = frozenset(rest.decode(errors="replace").split())
        updates.append(Update(match[1].decode(), match[2].decode(), match[3].decode(errors="replace")))
    return Push(tuple(updates), capabilities)


def objection(push: Push, allowed: str, present: str) -> str:
    """Why the push is not taken; empty: it may go on. `present` is what the ref stands at, empty for absent."""
    if len(push.updates) != 1:
        return f"one ref per push: {allowed}"
    update = push.updates[0]
    if update.ref != allowed:
        return f"the one ref that may be pushed is {allowed}"
    if update.new == ZERO:
        return "a branch cannot be deleted"
    if update.old != (present or ZERO):
        return "the branch has moved; fetch first"
    return ""
