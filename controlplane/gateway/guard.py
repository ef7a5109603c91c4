"""Between a WebSocket's bytes and their reader: every frame must be masked, and there must not be too many.

Compressed messages are turned into plain ones here, if the socket has agreed to them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from aiohttp.http_websocket import WebSocketReader

from controlplane.gateway.unpack import ILLEGAL, BreachError, Unpack

BURST: Final = 200.0
PER_SECOND: Final = 50.0
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_LONGER: Final = {126: 2, 127: 8}
_HEAD: Final = 2
_MASK: Final = 4


class Guard:
    """Looks at the heads of frames, pings and empty fragments included, which cost a sender next to nothing.

    A breach closes the socket with 1002, one of the size of a compressed message with 1009.
    """

    def __init__(
        self, reader: WebSocketReader, unpack: Unpack | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = reader
        self._unpack = unpack
        self._clock = clock
        self._head = bytearray()  # of a frame whose head is not whole yet; the reader has not seen it
        self._rest = 0  # bytes of the present frame that are still to come
        self._packed: bytearray | None = None  # those that came, of a compressed message's
        self._allowance = BURST
        self._counted_at = clock()
        self._broken = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._broken:
            return True, b""
        return self._reader.feed_data(self._checked(data))

    def feed_eof(self) -> None:
        self._reader.feed_eof()

    def _checked(self, data: bytes) -> bytes:
        """What the reader may see of it."""
        good, at = bytearray(), 0
        try:
            while at < len(data):
                if self._rest:
                    step = min(self._rest, len(data) - at)
                    self._rest -= step
                    good += self._body(data[at : at + step])
                    at += step
                else:
                    self._head.append(data[at])
                    at += 1
                    good += self._whole_head()
        except BreachError as breach:
            self._broken = True
            good += breach.frame
        return bytes(good)

    def _body(self, piece: bytes) -> bytes:
        """A piece of a frame's mask and payload, or the message that it completes."""
        if self._packed is None or self._unpack is None:
            return piece
        self._packed += piece
        if self._rest:
            return b""
        whole, self._packed = bytes(self._packed), None
        return self._unpack.ended(whole)

    def _whole_head(self) -> bytes:
        """The head once it is whole, if it is the reader's."""
        if len(self._head) < _HEAD:
            return b""
        length = self._head[1] & _LENGTH
        longer = _LONGER.get(length, 0)
        masked = self._head[1] & _MASKED
        if masked and len(self._head) < _HEAD + longer:
            return b""
        if not masked or not self._may_come():
            raise BreachError(ILLEGAL)
        size = int.from_bytes(self._head[_HEAD:]) if longer else length
        head = bytes(self._head)
        self._head.clear()
        self._rest = _MASK + size
        if self._unpack is not None and self._unpack.takes(head[0], size):
            self._packed = bytearray()
            return b""
        return head

    def _may_come(self) -> bool:
        """Counts one frame."""
        now = self._clock()
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) * PER_SECOND) - 1
        self._counted_at = now
        return self._allowance >= 0
