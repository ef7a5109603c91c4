"""One open socket of /ws as its rooms see it: frames go to it at once, and who does not read them has to go."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from aiohttp import WSCloseCode, web

from controlplane.gateway import upgrade

BUDGET_BYTES: Final = 1 << 20
BUDGET_WRITES: Final = 4096
EASY_BYTES: Final = 64 << 10
LOOK_S: Final = 0.05
READER_S: Final = 30.0


class Wire:
    """`deflates`: the client takes compressed messages.

    `budget` is how many bytes may wait for the reader; `BUDGET_WRITES` bounds their pieces.
    """

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport, *, budget: int) -> None:
        self.deflates = upgrade.deflates(socket)
        self._socket = socket
        self._transport = transport
        self._write = transport.write
        self._waiting = transport.get_write_buffer_size
        self._budget = budget
        self._writes = 0
        self._closing: asyncio.Task[None] | None = None

    @property
    def leaving(self) -> bool:
        return self._closing is not None or self._socket.closed

    def push(self, data: bytes) -> None:
        if self._closing is not None or self._transport.is_closing():
            return
        waiting = self._waiting()
        self._writes = self._writes + 1 if waiting else 0
        if waiting + len(data) > self._budget or self._writes > BUDGET_WRITES:
            self.close(WSCloseCode.TRY_AGAIN_LATER, "this reads too slowly; come again with a cursor")
        else:
            self._write(data)

    async def ready(self) -> bool:
        """Waits for the reader, if it reads at all; False: it has left."""
        waited = 0.0
        while self._waiting() > EASY_BYTES and not self.leaving:
            await asyncio.sleep(LOOK_S)
            waited += LOOK_S
            if waited > READER_S:
                self.close(WSCloseCode.TRY_AGAIN_LATER, "this reads too slowly; come again with a cursor")
        return not self.leaving and not self._transport.is_closing()

    def close(self, code: WSCloseCode, reason: str) -> None:
        """Says why behind what was sent; the end comes without being waited for."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._end(code, reason))

    async def _end(self, code: WSCloseCode, reason: str) -> None:
        asyncio.get_running_loop().call_later(READER_S, self._transport.abort)
        with contextlib.suppress(ConnectionError):
            await self._socket.close(code=code, message=reason.encode()[:120], drain=False)
        self._transport.close()

    async def closed(self) -> None:
        """Once a close that was asked for is through."""
        if self._closing is not None:
            await self._closing
