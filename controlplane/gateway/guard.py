"""Between a WebSocket's bytes and their reader: every frame must be masked, and there must not be too many."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from aiohttp import WSCloseCode
from aiohttp.http_websocket import WebSocketError, WebSocketReader

BURST: Final = 200.0
PER_SECOND: Final = 50.0
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_LONGER: Final = {126: 2, 127: 8}
_HEAD: Final = 2
_MASK: Final = 4


class Guard:
    """Looks at the heads of frames only, pings and empty fragments included, which cost a sender next to nothing."""

    def __init__(self, reader: WebSocketReader, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._head = bytearray()
        self._rest = 0  # bytes of the present frame that are still to come
        self._allowance = BURST
        self._counted_at = clock()
        self._failed = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._failed:
            return True, b""
        try:
            self._walk(bytes(data))
        except WebSocketError as fault:
            self._failed = True
            self._reader.queue.set_exception(fault)
            return True, b""
        return self._reader.feed_data(data)

    def feed_eof(self) -> None:
        self._reader.feed_eof()

    def _walk(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._rest:
                step = min(self._rest, len(data) - at)
                self._rest -= step
                at += step
            else:
                self._head.append(data[at])
                at += 1
                self._look()

    def _look(self) -> None:
        """Takes a head once it is whole."""
        if len(self._head) < _HEAD:
            return
        if not self._head[1] & _MASKED:
            raise WebSocketError(WSCloseCode.PROTOCOL_ERROR, "the frame is not masked")
        length = self._head[1] & _LENGTH
        longer = _LONGER.get(length, 0)
        if len(self._head) == _HEAD + longer:
            self._rest = _MASK + (int.from_bytes(self._head[_HEAD:]) if longer else length)
            self._head.clear()
            self._count()

    def _count(self) -> None:
        now = self._clock()
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) * PER_SECOND)
        self._counted_at = now
        if self._allowance < 1:
            raise WebSocketError(WSCloseCode.POLICY_VIOLATION, "too many frames")
        self._allowance -= 1
