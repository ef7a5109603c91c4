"""Compressed messages on their way in: taken from among a socket's frames, and turned into plain ones."""

from __future__ import annotations

import zlib
from typing import Final

from controlplane.gateway import frames
from controlplane.gateway.deflate import inflated

# What no reader takes: frames that it is told in place of those that must not come.
ILLEGAL: Final = b"\xf0\x80"  # 1002
TOO_LONG: Final = b"\x81\xff" + b"\x7f" * 8 + bytes(4)  # 1009
_RESERVED: Final = 0x70
_OPCODE: Final = 0x0F
_CONTROL: Final = 0x08
_DATA: Final = (1, 2)
_MASK: Final = 4


class BreachError(Exception):
    """The socket has to be closed: `frame` makes its reader do that."""

    def __init__(self, frame: bytes) -> None:
        super().__init__(frame)
        self.frame = frame


class Unpack:
    """`longest` bounds a message, compressed and not. Frames of other messages are the reader's, RSV1 included."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._opcode = 0  # of the compressed message that has begun
        self._plain = False  # another has begun
        self._packed = bytearray()
        self._last = False

    def takes(self, first: int, size: int) -> bool:
        """Whether a frame, by its first byte, is of a compressed message; `BreachError` where none may come."""
        opcode, last = first & _OPCODE, bool(first & frames.LAST)
        if opcode >= _CONTROL:
            return False
        if not self._opcode and not self._begins(first, opcode):
            self._plain = not last
            return False
        if self._opcode and (opcode or first & _RESERVED):
            raise BreachError(ILLEGAL)
        if len(self._packed) + size > self._longest:
            raise BreachError(TOO_LONG)
        self._opcode, self._last = self._opcode or opcode, last
        return True

    def _begins(self, first: int, opcode: int) -> bool:
        return opcode in _DATA and first & _RESERVED == frames.PACKED and not self._plain

    def ended(self, masked: bytes) -> bytes:
        """Takes the mask and payload of such a frame; gives the message as a plain frame once it is whole."""
        self._packed += unmasked(masked[:_MASK], masked[_MASK:])
        if not self._last:
            return b""
        packed, opcode = bytes(self._packed), self._opcode
        self._packed.clear()
        self._opcode = 0
        try:
            return frames.framed(inflated(packed, self._longest), frames.LAST | opcode)
        except zlib.error:
            raise BreachError(ILLEGAL) from None


def unmasked(mask: bytes, data: bytes) -> bytes:
    size = len(data)
    key = int.from_bytes((mask * (size // _MASK + 1))[:size])
    return (int.from_bytes(data) ^ key).to_bytes(size)
