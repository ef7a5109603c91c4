"""Messages to WebSockets, as whole frames: a server does not mask, so one frame fits every socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from controlplane.gateway.deflate import SMALL_BYTES, deflated

LAST: Final = 0x80  # the whole message, or its last piece
PACKED: Final = 0x40  # RSV1: the message is compressed
TEXT: Final = 0x01
_SHORT: Final = 126
_MIDDLE: Final = 1 << 16


@dataclass(frozen=True)
class Frame:
    """An event of a room on its way: `payload` is its JSON, `plain` and `packed` are what goes over the wire."""

    seq: int
    payload: bytes

    @cached_property
    def plain(self) -> bytes:
        return framed(self.payload)

    @cached_property
    def packed(self) -> bytes:
        """For sockets that take compressed messages; uncompressed where that is no longer."""
        small = deflated(self.payload) if len(self.payload) >= SMALL_BYTES else self.payload
        return framed(small, LAST | PACKED | TEXT) if len(small) < len(self.payload) else self.plain

    def form(self, *, deflates: bool) -> bytes:
        return self.packed if deflates else self.plain


def encoded(message: Mapping[str, Any]) -> bytes:
    """As JSON."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def text(message: Mapping[str, Any]) -> bytes:
    """A text frame with JSON."""
    return framed(encoded(message))


def framed(payload: bytes, first: int = LAST | TEXT) -> bytes:
    """A frame without a mask; `first` is its first byte."""
    size = len(payload)
    if size < _SHORT:
        return bytes((first, size)) + payload
    if size < _MIDDLE:
        return bytes((first, 126)) + size.to_bytes(2) + payload
    return bytes((first, 127)) + size.to_bytes(8) + payload
