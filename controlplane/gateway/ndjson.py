"""Server streams as newline-delimited JSON: `{"result": …}` a line, at the end of a failure `{"error": …}`.

An empty line every 15 s of silence tells that the stream is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from aiohttp import web
from google.protobuf.message import Message

from controlplane.api.pipeline import Dispatcher
from controlplane.errors import SwarmError
from controlplane.gateway.answers import described, expect_accept
from controlplane.gateway.deadline import deadline, sent
from controlplane.gateway.front import dress, known_id
from controlplane.gateway.headers import metadata_of, peer_of
from controlplane.gateway.route import Route

NDJSON: Final = "application/x-ndjson"
BEAT_S: Final = 15.0
HEAD_S: Final = 1.0  # what goes wrong at once is an answer with a status of its own


class Lines:
    """Answers with streams."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def answer(self, request: web.BaseRequest, route: Route, message: Message) -> web.StreamResponse:
        expect_accept(request, NDJSON)
        if request.method == "HEAD":
            return web.Response(content_type=NDJSON)
        metadata = metadata_of(request, known_id(request))
        answers = self._dispatcher.stream(route.method, _once(message), metadata, peer_of(request))
        response = web.StreamResponse(headers={"Content-Type": NDJSON, "X-Accel-Buffering": "no"})
        async with contextlib.aclosing(_lines(answers, route)) as lines:
            try:
                async with deadline(request):
                    await self._send(request, response, lines)
            except SwarmError as error:
                if not response.prepared:
                    raise
                await sent(response.write(b'{"error":%s}\n' % json.dumps(described(error, known_id(request))).encode()))
        await response.write_eof()
        return response

    async def _send(self, request: web.BaseRequest, response: web.StreamResponse, lines: AsyncIterator[bytes]) -> None:
        async for line in lines:
            if not response.prepared:
                dress(request, response)
                await response.prepare(request)
            if line:
                await sent(response.write(line))
        if not response.prepared:
            dress(request, response)
            await response.prepare(request)


async def _lines(answers: AsyncGenerator[Message, None], route: Route) -> AsyncGenerator[bytes, None]:
    """A line per answer; nothing yet after `HEAD_S`, and an empty line after each `BEAT_S` without one."""
    patience, silence = HEAD_S, b""
    async with contextlib.aclosing(answers):
        coming = asyncio.ensure_future(anext(answers))
        try:
            while True:
                await asyncio.wait((coming,), timeout=patience)
                if coming.done():
                    line = b'{"result":%s}\n' % route.encode(coming.result())
                    coming = asyncio.ensure_future(anext(answers))
                    yield line
                else:
                    yield silence
                patience, silence = BEAT_S, b"\n"
        except StopAsyncIteration:
            return
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def _once(message: Message) -> AsyncGenerator[Message, None]:
    yield message
