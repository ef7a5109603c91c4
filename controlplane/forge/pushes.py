"""What a push asks for, read before git sees any of it, and how one is refused in words that git shows. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ZERO: Final = "0" * 40
# What git's own receive-pack can do and we let it.
CAPABILITIES: Final = "report-status side-band-64k ofs-delta quiet object-format=sha1 agent=swarm"
FLUSH: Final = b"0000"
LONGEST_LINE: Final = 65520
LONGEST_SECTION: Final = 64 << 10
_COMMAND: Final = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) ([\x21-\xff]{1,1024})")
_LENGTH: Final = re.compile(rb"[0-9a-fA-F]{4}")


class PushError(ValueError):
    """Bytes that no correct git sends."""


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


def line(payload: bytes) -> bytes:
    """One packet line."""
    return b"%04x%b" % (len(payload) + 4, payload)


def advertisement(ref: str, present: str) -> bytes:
    """The answer to the first request of a push: the one ref and nothing else."""
    first = line(f"{present} {ref}\0{CAPABILITIES}\n".encode())
    return line(b"# service=git-receive-pack\n") + FLUSH + first + FLUSH


def parse(buffer: bytes) -> Push | None:
    """The commands at the begin of a push; None while their end has not come. PushError."""
    lines: list[bytes] = []
    at = 0
    while len(header := buffer[at : at + 4]) == 4:  # noqa: PLR2004 - digits of a length
        if not _LENGTH.fullmatch(header):
            raise PushError("the length of a packet line is not hex")
        length = int(header, 16)
        if length == 0:
            return _push(lines)
        if not 4 < length <= LONGEST_LINE:  # noqa: PLR2004
            raise PushError("the length of a packet line is out of range")
        if len(buffer) < at + length:
            break
        lines.append(buffer[at + 4 : at + length])
        at += length
    if len(buffer) > LONGEST_SECTION:
        raise PushError("too many commands")
    return None


def _push(lines: Sequence[bytes]) -> Push:
    updates: list[Update] = []
    capabilities: frozenset[str] = frozenset()
    for index, each in enumerate(lines):
        text, _, rest = each.partition(b"\0")
        match = _COMMAND.fullmatch(text.rstrip(b"\n"))
        if match is None or (rest and index):
            raise PushError("a command is OLD NEW REF; shallow and signed pushes are not taken")
        capabilities |= frozenset(rest.decode(errors="replace").split())
        old, new, ref = (part.decode(errors="replace") for part in match.groups())
        updates.append(Update(old, new, ref))
    if unknown := sorted(capabilities - set(CAPABILITIES.split()) - _agents(capabilities)):
        raise PushError(f"{unknown[0][:64]} was not offered")
    return Push(tuple(updates), capabilities)


def _agents(capabilities: frozenset[str]) -> set[str]:
    """Names of programs, which everybody may say."""
    return {each for each in capabilities if each.startswith(("agent=", "session-id="))}


def objection(push: Push, allowed: str, present: str) -> str:
    """Why the push is not taken; empty: git may have it. `present` is what the ref stands at."""
    if len(push.updates) != 1:
        return f"one ref per push: {allowed}"
    update = push.updates[0]
    if update.ref != allowed:
        return f"the one ref that may be pushed is {allowed}"
    if update.new == ZERO:
        return "a branch cannot be deleted"
    if update.old != present:
        return "the branch has moved; fetch first"
    return ""


def refusal(push: Push, why: str) -> bytes:
    """The report that git shows its user as `! [remote rejected] … (why)`."""
    body = line(b"unpack ok\n")
    body += b"".join(line(f"ng {update.ref} {why}\n".encode(errors="replace")) for update in push.updates) + FLUSH
    return line(b"\x01" + body) + FLUSH if "side-band-64k" in push.capabilities else body
