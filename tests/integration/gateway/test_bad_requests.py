"""What no route may stumble over: senseless bodies, queries and names, sent to each of them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from yarl import URL

from controlplane.gateway.route import Route
from swarm.http.routes import ROUTES
from tests.fakes.control import control_plane

UNLIMITED = {"rate_limit": 10**6, "rate_limit_auth": 10**6, "rate_limit_ai": 10**6, "rate_limit_lease": 10**6}
JSON = {"Content-Type": "application/json"}
HUGE = str(2**63)
BODIES = {
    "null": b"null",
    "a list": b"[]",
    "a string": b'"x"',
    "cut off": b'{"a',
    "an unknown field": b'{"nobody_knows_this": 1}',
    "a key twice": b'{"id": "a", "id": "b"}',
    "NaN": b'{"id": NaN}',
    "Infinity": b'{"id": -Infinity}',
    "1e400": b'{"id": 1e400}',
    "2^63": b'{"id": %s}' % HUGE.encode(),
    "a number that never ends": b'{"id": %s}' % (b"9" * 10_000),
    "NUL": b'{"id": "\\u0000"}',
    "a lone surrogate": b'{"id": "\\ud800"}',
    "bytes that are no UTF-8": b'{"id": "\xff\xfe"}',
    "UTF-16": '{"id": "x"}'.encode("utf-16"),
    "a deep list": b'{"id":' + b"[" * 50_000,
    "a deep object": b'{"id":' * 50_000,
}
QUERIES = {
    "an unknown name": "nobody_knows_this=1",
    "a name of Python": "__class__=1",
    "a path": "a.b.c.d.e=1",
    "NUL": "page_token=%00",
    "no UTF-8": "page_token=%ff%fe",
    "a forged token": "page_token=eyJhIjoxfQ",
    "a page below nothing": "page_size=-1",
    "a page of 1e9": "page_size=1000000000",
    "2^63": f"page_size={HUGE}",
    "a fraction": "page_size=1.5",
    "a list": "page_size=1&page_size=2",
}
NAMES = {
    "NUL": "%00",
    "no UTF-8": "%ff%fe",
    "dots": "..%2f..%2fetc%2fpasswd",
    "CR and LF": "a%0d%0aX-Evil:%201",
    "SQL": "x'%20OR%20'1'='1",
    "LIKE": "%25",
    "right to left": "%e2%80%aetk_1",
    "long": "a" * 3000,
    "nothing of ours": "tk_" + "0" * 26,
}
INSIDE = ("Traceback", "sqlite", "apsw", ".py")


@asynccontextmanager
async def admitted(home: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with control_plane(home, **UNLIMITED) as control:
        headers = {"Authorization": f"Bearer {control.token()}"}
        async with aiohttp.ClientSession(control.url, headers=headers, timeout=aiohttp.ClientTimeout(60)) as web:
            yield web


async def refused(web: aiohttp.ClientSession, route: Route, path: str, body: bytes | None = None) -> str:
    """What is wrong with the answer: empty, when it is a refusal in the words of all refusals."""
    url = URL(path, encoded=True)
    async with web.request(route.verb, url, data=body, headers=JSON if body is not None else {}) as answer:
        text = (await answer.content.read(1 << 16)).decode()
    said = json.loads(text) if answer.content_type == "application/json" else None
    typed = said and said.keys() == {"code", "message", "details", "request_id"}
    typed = typed and not any(word in text for word in INSIDE)
    ours = answer.status >= 500 and '"no_host"' not in text  # who looks for a template asks a host, and none is there
    return f"{answer.status} {text[:200]}" if ours or answer.status < 400 or not typed else ""


def path_of(route: Route, name: str = "x") -> str:
    return re.sub(r"\{\w+\}", lambda _: name, route.template)


async def wrong(web: aiohttp.ClientSession, cases: Iterable[tuple[str, Route, str, bytes | None]]) -> dict[str, str]:
    """Those that were not refused as they should be."""
    found = {}
    for case, route, path, body in cases:
        if fault := await refused(web, route, path, body):
            found[f"{case}: {route.verb} {route.template}"] = fault
    return found


async def test_a_body_without_sense_is_refused_by_every_route(home: Path) -> None:
    async with admitted(home) as web:
        cases = ((case, route, path_of(route), body) for case, body in BODIES.items() for route in ROUTES)
        assert await wrong(web, cases) == {}


async def test_a_query_without_sense_is_refused_by_every_route(home: Path) -> None:
    async with admitted(home) as web:
        cases = ((case, route, f"{path_of(route)}?{text}", None) for case, text in QUERIES.items() for route in ROUTES)
        assert await wrong(web, cases) == {}


async def test_a_name_without_sense_is_refused_by_every_route_with_one(home: Path) -> None:
    named = [route for route in ROUTES if "{" in route.template]
    async with admitted(home) as web:
        cases = ((case, route, path_of(route, text), None) for case, text in NAMES.items() for route in named)
        assert await wrong(web, cases) == {}
