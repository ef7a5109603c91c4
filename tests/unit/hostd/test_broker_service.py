from __future__ import annotations

import asyncio
import socket

from hostd.broker.attempt import Attempt, Terms
from hostd.broker.service import Service, _Live
from hostd.ports import Limits


async def test_a_connection_that_comes_in_the_moment_of_a_pause_is_dropped() -> None:
    """Its guest would wait for an answer for ever; so it tries again."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener = socket.create_server(("127.0.0.1", 0))
    attempt = Attempt(1, Terms("at_1", {}, None, "", None, Limits()), {}, lambda _: None)
    service, live = Service(theirs), _Live(attempt, listener, None)
    await service._serve(live)
    with ours, theirs, listener, socket.create_connection(listener.getsockname()) as guest:
        guest.settimeout(0)
        while not live.connections:  # noqa: ASYNC110  # the connection's task must not have its first turn meanwhile
            await asyncio.sleep(0)
        await service._stop_serving(live)
        async with asyncio.timeout(30):
            assert await asyncio.get_running_loop().sock_recv(guest, 1) == b""
