"""W3C trace context: which work of several processes belongs together."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Final

HEADER: Final = "traceparent"
LONGEST: Final = 512
# Later versions may have more behind; of version 00 this is all there is.
_FORM: Final = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class Trace:
    """Ids in hex: 32 digits of the trace, 16 of the piece of work in it."""

    trace_id: str
    span_id: str
    flags: str = "00"

    def child(self) -> Trace:
        """A piece of work of its own, for the same."""
        return Trace(self.trace_id, f"{random.getrandbits(64):016x}", self.flags)

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def parse(text: str) -> Trace | None:
    """The trace of a header; None for anything that the standard says to ignore."""
    found = _FORM.fullmatch(text) if len(text) <= LONGEST else None
    if found is None or (found[1] == "00" and found[5]):
        return None
    return Trace(found[2], found[3], found[4])


def begin() -> Trace:
    """A new trace, which nobody has asked to be recorded."""
    # Ids tell apart and guard nothing. The system's source is a call of the kernel, at which other threads get in.
    chance = f"{random.getrandbits(192):048x}"
    return Trace(chance[:32], chance[32:])


def received(text: str) -> Trace:
    """What is worked on here: a part of the caller's trace, or a new one."""
    caller = parse(text) if text else None
    return caller.child() if caller else begin()
