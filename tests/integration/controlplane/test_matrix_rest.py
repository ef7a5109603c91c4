"""The same matrix over REST: every route, asked by the owner of a thing, another tenant, a viewer and nobody at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.protobuf.message import Message

from controlplane.api.pipeline import Dispatcher
from controlplane.gateway import table
from controlplane.gateway.admission import Admission
from controlplane.gateway.bidi import Bidi
from controlplane.gateway.front import Front
from controlplane.gateway.headers import Origins
from controlplane.gateway.listener import Address, HttpListener
from controlplane.gateway.rest import Rest
from controlplane.gateway.route import Route
from swarm.http.routes import ROUTES
from tests.fakes.transcode import transcoded
from tests.integration.controlplane.rows import MARK, ROWS
from tests.integration.controlplane.world import METHODS, PRINCIPALS, authenticate, expected, name_in, world


def test_every_row_has_its_route() -> None:
    """And every route its row, or the matrix below cannot be made."""
    assert {route.method for route in ROUTES} == {f"swarm.{name}" for name in ROWS}


@asynccontextmanager
async def served(dispatcher: Dispatcher, folder: Path) -> AsyncIterator[aiohttp.ClientSession]:
    origins = Origins()
    bidi = Bidi(dispatcher, Admission(authenticate), origins, table.decode, table.encode)
    listener = HttpListener(Address("127.0.0.1", 0, folder / "port"))
    await listener.start(Front({"api": Rest(dispatcher, table.ROUTER, bidi).handle}, origins).handle)
    try:
        async with aiohttp.ClientSession(listener.url, timeout=aiohttp.ClientTimeout(60)) as session:
            yield session
    finally:
        await listener.stop()


async def ask(web: aiohttp.ClientSession, route: Route, request: Message, who: str) -> tuple[str, str]:
    """Code, and the first answer as text."""
    path, query, body = transcoded(route.method, route.verb, route.template, request)
    options: dict[str, Any] = {"params": query, "headers": {"Authorization": who} if who in PRINCIPALS else {}}
    if route.client_streaming:
        return await converse(web, path, **options)
    async with web.request(route.verb, path, json=body, **options) as answer:
        text = (await (answer.content.readline() if route.server_streaming else answer.read())).decode()
    return code_of(answer.status, text), text


async def converse(web: aiohttp.ClientSession, path: str, **options: Any) -> tuple[str, str]:
    """The first frame of a WebSocket, or how it was not opened."""
    try:
        async with web.ws_connect(path, **options) as socket, asyncio.timeout(60):
            said = str((await socket.receive()).data)
    except aiohttp.WSServerHandshakeError as refused:
        return {401: "UNAUTHENTICATED"}.get(refused.status, str(refused.status)), ""
    return code_of(200, said), said


def code_of(status: int, text: str) -> str:
    """Of an answer, a refusal, or a stream that says its error in its first line."""
    said = json.loads(text) if status != 200 else json.loads(text).get("error") if text.startswith('{"error"') else None
    return str(said["code"]) if said else "OK"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.verb} {route.template}")
async def test_each_gets_what_is_theirs(route: Route, tmp_path: Path) -> None:
    """In this order, so that what should not have happened would be seen by who comes later."""
    row, method = ROWS[route.method.removeprefix("swarm.")], METHODS[route.method]
    got: dict[str, tuple[str, str]] = {}
    async with world() as dispatcher, served(dispatcher, tmp_path) as web:
        for who in ("nobody", "viewer", "other", "owner"):
            got[who] = await ask(web, route, row.request, who)
    assert {who: code for who, (code, _) in got.items()} == {who: expected(row, method, who) for who in got}
    assert MARK not in got["other"][1].replace(name_in(row.request), "")
    assert MARK not in got["nobody"][1]
