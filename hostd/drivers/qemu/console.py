"""The serial console: relayed opaque, kept in a ring, slowed down when the guest floods."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

KEPT = 64 * 1024
CHUNK = 16 * 1024
REST_S = 0.02
"""Pause after each read: at most 800 KiB/s are taken, the guest's line waits meanwhile."""
TYPED = 64 * 1024


class SerialConsole:
    """Reads until the VMM hangs up, and remembers the last `KEPT` bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._ring = bytearray()
        self._total = 0
        self._ended = False
        self._news = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection.fileno(), self._pump)

    async def read(self) -> AsyncIterator[bytes]:
        """Recent output, then output as it comes. A reader that is too slow loses the oldest."""
        position = max(0, self._total - len(self._ring))
        while True:
            oldest = self._total - len(self._ring)
            position = max(position, oldest)
            if position < self._total:
                data = bytes(self._ring[position - oldest :])
                position = self._total
                yield data
            elif self._ended:
                return
            else:
                await self._news.wait()

    def type(self, data: bytes) -> None:
        """Send what the line takes at once; the rest is dropped, as a serial line does."""
        try:
            self._socket.send(data[:TYPED])
        except OSError:
            return

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            if self._timer is not None:
                self._timer.cancel()
            self._socket.close()
        self._end()

    def _pump(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._loop.remove_reader(self._socket.fileno())
        if not data:
            self._end()
            return
        self._timer = self._loop.call_later(REST_S, self._listen_again)
        self._ring += data
        del self._ring[:-KEPT]
        self._total += len(data)
        self._tell()

    def _listen_again(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._pump)

    def _end(self) -> None:
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        # Each waiter gets the event that was current when it began to wait.
        self._news.set()
        self._news = asyncio.Event()
