"""The transport of gRPC under clients that abuse it: their connection ends, and nothing else is harmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from swarm_sdk import Client
from tests.fakes.control import Control, eventually
from tests.fakes.http2 import END_HEADERS, Kind, call, frame, line, reset

MIB = 1 << 20
ENHANCE_YOUR_CALM = 11
LIST = "/swarm.ticket.v1.TicketService/ListTickets"
WATCH = "/swarm.ticket.v1.TicketService/WatchTickets"
EMPTY = bytes(5)  # a message of gRPC without a field


async def test_a_flood_of_pings_ends_its_connection_only(control: Control, client: Client) -> None:
    async with line(control.socket) as opened:
        await opened.send(b"".join(frame(Kind.PING, number.to_bytes(8)) for number in range(20)))
        async with asyncio.timeout(60):
            assert await opened.ended() == ENHANCE_YOUR_CALM
        assert await client.tickets.list() == []


async def test_headers_that_never_end_hold_up_nobody(control: Control, client: Client) -> None:
    """Each CONTINUATION is small; all together are not."""
    one = frame(Kind.CONTINUATION, b"\0\4x-01\x64" + b"x" * 100, stream=1)
    more = one * (MIB // len(one))
    async with line(control.socket) as opened:
        await opened.send(frame(Kind.HEADERS, call(LIST, control.token()), stream=1))
        for _ in range(16):
            await opened.send(more)
        assert await client.tickets.list() == []


async def test_calls_that_are_reset_at_once_hold_nothing(control: Control, client: Client) -> None:
    """Rapid reset: each stream is free for its client at once, and so it must be for us."""
    await client.tickets.list()
    before = len(asyncio.all_tasks())
    headers = call(WATCH, control.token())
    async with line(control.socket) as opened:
        reading = asyncio.create_task(opened.ended())
        for stream in range(1, 20_001, 2):
            started = frame(Kind.HEADERS, headers, END_HEADERS, stream) + frame(Kind.DATA, EMPTY, 1, stream)
            if reading.done() or not await opened.send(started + reset(stream)):
                break
        assert await client.tickets.list() == []
        await eventually(tasks_beyond(before + 2), wanted=False, within_s=60)
        reading.cancel()


def tasks_beyond(most: int) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return len(asyncio.all_tasks()) > most

    return look


BREACHES = {
    "no preface": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a frame of 16 MiB": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "a ping of 7 bytes": frame(Kind.PING, bytes(7)),
    "settings of 5 bytes": frame(Kind.SETTINGS, bytes(5)),
    "headers that are no HPACK": frame(Kind.HEADERS, b"\xff" * 40, END_HEADERS, 1),
    "a continuation of nothing": frame(Kind.CONTINUATION, b"", END_HEADERS, 1),
}


@pytest.mark.parametrize("data", BREACHES.values(), ids=BREACHES)
async def test_what_is_no_http2_ends_its_connection_only(control: Control, client: Client, data: bytes) -> None:
    async with line(control.socket) as opened:
        await opened.send(data)
        async with asyncio.timeout(60):
            await opened.ended()
        assert await client.tickets.list() == []
