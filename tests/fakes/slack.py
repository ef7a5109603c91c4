"""Slack's incoming webhooks, as its documentation describes their answers, over TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web


@dataclass
class Slack:
    """`answers` are given to the next posts, from the front: status, body, headers."""

    port: int = 0
    posts: int = 0
    texts: list[str] = field(default_factory=list)  # of messages that were taken
    answers: list[tuple[int, str, Mapping[str, str]]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.host}/services/T0/B0/secret"

    async def handle(self, request: web.Request) -> web.Response:
        self.posts += 1
        body = await request.read()
        status, words, headers = self.answers.pop(0) if self.answers else self._judge(request, body)
        self.changed.set()
        return web.Response(status=status, text=words, headers=headers)

    def _judge(self, request: web.Request, body: bytes) -> tuple[int, str, Mapping[str, str]]:
        try:
            text = json.loads(body)["text"]
        except (ValueError, KeyError, TypeError):
            return 400, "invalid_payload", {}
        if request.content_type != "application/json" or not isinstance(text, str) or not text:
            return 400, "no_text", {}
        self.texts.append(text)
        return 200, "ok", {}

    async def until(self, posts: int) -> None:
        async with asyncio.timeout(60):
            while self.posts < posts:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def slack_server(pem: Path, key: Path) -> AsyncIterator[Slack]:
    made = Slack()
    app = web.Application()
    app.router.add_post("/services/{rest:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    site = web.TCPSite(runner, "localhost", 0, ssl_context=context)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()
