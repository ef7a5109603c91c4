"""What is no HTTP, or two kinds of it at once: one answer, then the end of that connection only."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fakes.control import Control, control_plane

HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


async def sent(control: Control, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """The status, the headers and the body of the first answer."""
    where = urlsplit(control.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(data)
        async with asyncio.timeout(60):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split()[1]), headers, body
    finally:
        writer.close()


MALFORMED = [
    b"\x00\x01\x02\x03\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 is TLS\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /healthz\r\n\r\n",
    b"GET  /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    b"G\xffT /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    HEAD + b"Bad Header\r\n\r\n",
    HEAD + b"X: a\rb\r\n\r\n",
    HEAD + b"X: a\x00b\r\n\r\n",
    HEAD + b"X: a\r\n folded: b\r\n: none\r\n\r\n",
    HEAD + b"Host: y\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n",
    b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n",
    b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked, x\r\n\r\n",
    b"GET /api/tickets/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/tickets/%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/tickets HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
    b"GET /api/tickets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
]


async def test_it_is_refused_in_the_words_of_all_errors(control: Control) -> None:
    for data in MALFORMED:
        status, headers, body = await sent(control, data)
        said = json.loads(body)
        assert status in {400, 405}, data
        assert said["code"] in {"INVALID_ARGUMENT", "UNIMPLEMENTED"}
        assert said["request_id"] == headers["x-request-id"]
        assert headers["x-content-type-options"] == "nosniff"
        assert b"Traceback" not in body
    assert (await sent(control, HEAD + b"\r\n"))[0] == 200


async def test_heads_have_limits(control: Control) -> None:
    one = HEAD + b"X: " + b"a" * (17 << 10) + b"\r\n\r\n"
    many = HEAD + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 8000) for number in range(5)) + b"\r\n"
    huge = HEAD + b"X: " + b"a" * (64 << 10) + b"\r\n\r\n"
    for data in (one, many, huge):
        status, _, body = await sent(control, data)
        assert (status, json.loads(body)["code"]) == (431, "INVALID_ARGUMENT")
    status, _, _ = await sent(control, b"GET /" + b"a" * (20 << 10) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status in {414, 431}
    status, _, _ = await sent(control, HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n")
    assert status in {400, 431}


async def test_dots_lead_nowhere(control: Control) -> None:
    for path in (b"/api/../healthz", b"/api/%2e%2e/healthz", b"/docs/../../etc/passwd", b"/docs/%2e%2e%2f%2e%2e%2fetc"):
        status, _, _ = await sent(control, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status == 404, path


async def test_a_client_that_says_nothing_is_left(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.gateway.listener.HEAD_S", 0.05)
    where = urlsplit(control.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHo")
    assert await reader.read() == b""
    writer.close()


async def test_a_body_that_never_comes_is_not_waited_for(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.gateway.body.IDLE_S", 0.05)
    head = b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % control.token().encode()
    status, _, body = await sent(control, head + b"Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
    assert (status, json.loads(body)["code"]) == (408, "DEADLINE_EXCEEDED")


async def test_who_waits_for_a_go_on_gets_it(control: Control) -> None:
    where = urlsplit(control.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % control.token().encode()
    writer.write(head + b"Content-Type: application/json\r\nContent-Length: 13\r\nExpect: 100-continue\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(b'{"title":"x"}')
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_head_that_trickles_is_left_on_any_connection(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that go on coming are no head, neither at first nor after a good request."""
    monkeypatch.setattr("controlplane.gateway.listener.HEAD_S", 0.2)
    monkeypatch.setattr("controlplane.gateway.listener.KEEPALIVE_S", 0.2)
    async with control_plane(home) as control:
        for before in (b"", HEAD + b"\r\n"):
            where = urlsplit(control.url)
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.write(before)
            if before:
                await reader.readuntil(b'{"status":"ok"}')
            writer.write(HEAD + b"X: ")
            ended = asyncio.create_task(reader.read())
            async with asyncio.timeout(60):
                while not (await asyncio.wait((ended,), timeout=0.02))[0]:
                    writer.write(b"a")
            assert await ended == b""
            writer.close()


async def test_a_body_that_trickles_is_not_waited_for(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.gateway.body.WHOLE_S", 0.2)
    where = urlsplit(control.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = b"POST /api/tickets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % control.token().encode()
    writer.write(head + b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{")
    answered = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    async with asyncio.timeout(60):
        while not (await asyncio.wait((answered,), timeout=0.02))[0]:
            writer.write(b" ")
    assert (await answered).startswith(b"HTTP/1.1 408 ")
    writer.close()
