"""Requests that two servers could cut at two places: refused, and nothing behind them is ever looked at."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import pytest

from swarm_sdk import Client
from tests.fakes.control import Control

BODY = b'{"title":"hidden"}'
HIDDEN = b"POST /api/tickets HTTP/1.1\r\nHost: x\r\n%sContent-Length: 18\r\n\r\n" + BODY
FRAMINGS = {
    "length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}",
    "the same length twice": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": b"Content-Length: +2\r\n\r\n{}",
    "a length in other digits": "Content-Length: ٢\r\n\r\n{}".encode(),
    "a length with an underscore": b"Content-Length: 0_2\r\n\r\n{}",
    "a length in hex": b"Content-Length: 0x2\r\n\r\n{}",
    "no length": b"Content-Length: \r\n\r\n{}",
    "a blank before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked and then not": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a size in decimals": b"Transfer-Encoding: chunked\r\n\r\n0_2\r\n{}\r\n0\r\n\r\n",
    "a size with a sign": b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
    "a size with 0x": b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a size beyond all": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}more\r\n0\r\n\r\n",
    "a line feed in an extension": b"Transfer-Encoding: chunked\r\n\r\n2;a\nb\r\n{}\r\n0\r\n\r\n",
}


async def answers(control: Control, data: bytes) -> list[int]:
    """The statuses of all answers, until the server ends the connection."""
    where = urlsplit(control.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(data)
    async with asyncio.timeout(60):
        told = await reader.read()
    writer.close()
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", told)]


@pytest.fixture
def bearer(control: Control) -> bytes:
    return b"Authorization: Bearer %s\r\n" % control.token().encode()


async def test_what_could_be_cut_in_two_ways_ends_the_connection(
    control: Control, client: Client, bearer: bytes
) -> None:
    head = b"POST /api/cleanup/run HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + bearer
    found = {name: await answers(control, head + framing + HIDDEN % bearer) for name, framing in FRAMINGS.items()}
    assert found == {name: [400] for name in FRAMINGS}
    assert await client.tickets.list() == []


async def test_what_follows_a_good_request_is_the_next_one(control: Control, client: Client, bearer: bytes) -> None:
    """Else that nothing is hidden above would prove nothing."""
    good = b"POST /api/cleanup/run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + bearer
    last = HIDDEN % (b"Connection: close\r\n" + bearer)
    assert await answers(control, good + b"\r\n2\r\n{}\r\n0\r\n\r\n" + last) == [200, 200]
    assert [ticket.spec.title for ticket in await client.tickets.list()] == ["hidden"]
