"""Answers pings for a guest that is played in process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

PING = b"ping"


@contextmanager
def answering(port: int, pong: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Have `pong` called for each ping at `port` of loopback while the block runs, one at a time."""
    loop = asyncio.get_running_loop()
    bell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bell.settimeout(0.0)
    bell.bind(("127.0.0.1", port))
    answers: list[asyncio.Future[None]] = []

    def rung() -> None:
        with suppress(OSError):
            if bell.recv(64) == PING and all(answer.done() for answer in answers):
                answers[:] = [asyncio.ensure_future(pong())]

    loop.add_reader(bell.fileno(), rung)
    try:
        yield
    finally:
        loop.remove_reader(bell.fileno())
        bell.close()
        for answer in answers:
            answer.cancel()
