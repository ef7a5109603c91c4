"""Messages to WebSockets, as whole frames: a server does not mask, so one frame fits every socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_TEXT: Final = 0x81  # one frame, and the last
_SHORT: Final = 126
_MIDDLE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Frame:
    """An event of a room on its way: `data` is what goes over the wire."""

    seq: int
    data: bytes


def text(message: Mapping[str, Any]) -> bytes:
    """A text frame with JSON."""
    return framed(json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))


def framed(payload: bytes) -> bytes:
    size = len(payload)
    if size < _SHORT:
        return bytes((_TEXT, size)) + payload
    if size < _MIDDLE:
        return bytes((_TEXT, 126)) + size.to_bytes(2) + payload
    return bytes((_TEXT, 127)) + size.to_bytes(8) + payload
