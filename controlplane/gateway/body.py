"""Bodies of requests, in pieces: invited, unpacked, capped, and never waited for long."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from aiohttp import web

from controlplane.errors import InvalidInput
from controlplane.gateway.faults import ExpectationFailed, Stalled, TooLarge, Unsupported

IDLE_S: Final = 60.0
WHOLE_S: Final = 300.0  # for one that is kept in memory
_PIECE: Final = 1 << 16


async def whole(request: web.BaseRequest, limit: int) -> bytes:
    """The body, unpacked; `TooLarge` beyond `limit` bytes of it, `Stalled` when it takes for ever."""
    found = bytearray()
    try:
        async with asyncio.timeout(WHOLE_S), contextlib.aclosing(pieces(request, limit)) as coming:
            async for piece in coming:
                found += piece
    except TimeoutError:
        raise Stalled(f"the body did not come within {WHOLE_S:.0f} s") from None
    return bytes(found)


async def pieces(request: web.BaseRequest, limit: int) -> AsyncGenerator[bytes, None]:
    """The body in pieces, unpacked, at most `limit` bytes of it; never waits long for a client that says nothing."""
    coding = request.headers.get("Content-Encoding", "identity").lower()
    if coding not in {"identity", "gzip", "x-gzip"}:
        raise Unsupported("the only Content-Encoding is gzip")
    if (request.content_length or 0) > limit:
        raise TooLarge(f"the body is longer than {limit} bytes")
    await _invite(request)
    raw = _pieces(request)
    plain = raw if coding == "identity" else _unpacked(raw)
    size = 0
    async for piece in plain:
        size += len(piece)
        if size > limit:
            raise TooLarge(f"the body is longer than {limit} bytes")
        yield piece


async def _invite(request: web.BaseRequest) -> None:
    """Says that the body may come, to who waits for that."""
    expected = request.headers.get("Expect", "").lower()
    if expected and expected != "100-continue":
        raise ExpectationFailed(f"nobody here meets {expected[:64]!r}")
    if expected:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # no part of the answer


async def _pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    try:
        while True:
            async with asyncio.timeout(IDLE_S):
                piece = await request.content.read(_PIECE)
            if not piece:
                return
            yield piece
    except TimeoutError:
        raise Stalled(f"nothing came for {IDLE_S:.0f} s") from None
    except web.RequestPayloadError:
        raise InvalidInput("the body is cut off, or not chunked as it says") from None


async def _unpacked(raw: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """gzip, never more than a piece of it in memory."""
    stream = zlib.decompressobj(wbits=31)
    try:
        async for piece in raw:
            rest = piece
            while rest and not stream.eof:
                yield stream.decompress(rest, _PIECE)
                rest = stream.unconsumed_tail
            if stream.unused_data:
                raise InvalidInput("something follows the gzip body")
    except zlib.error:
        raise InvalidInput("the body is not gzip") from None
    if not stream.eof:
        raise InvalidInput("the gzip body is cut off")
