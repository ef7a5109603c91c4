"""Wakes a guest and answers it with nothing to do; its bytes are thrown away unread."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Self

from ext.netns import Net
from hostd import network

AGAIN_S = 0.25
ANSWER_S = 10.0
_NOTHING = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Doorbell:
    """Both sockets of a slot; the slot keeps its own descriptors."""

    def __init__(self, net: Net) -> None:
        self._listener = socket.socket(fileno=os.dup(net.listener))
        self._bell = socket.socket(fileno=os.dup(net.doorbell))
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()
        self._bell.close()

    async def wake(self) -> None:
        """Ring until the guest calls, and answer that call. The caller sets the deadline."""
        while True:
            self.ring()
            with suppress(TimeoutError):
                await self._answer(AGAIN_S)
                return

    async def quiet(self, seconds: float) -> None:
        """Answer stray calls until there was none for so long."""
        with suppress(TimeoutError):
            while True:
                await self._answer(seconds)

    def ring(self) -> None:
        """Send one datagram."""
        with suppress(OSError):  # a full queue of a guest that still boots
            self._bell.sendto(b"wake", (network.GUEST_IP, network.DOORBELL))

    async def _answer(self, patience: float) -> None:
        async with asyncio.timeout(patience):
            connection, _ = await self._loop.sock_accept(self._listener)
        with connection, suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await self._loop.sock_recv(connection, 16 * 1024)
                await self._loop.sock_sendall(connection, _NOTHING)
                while await self._loop.sock_recv(connection, 16 * 1024):
                    pass
