"""Whose address counts behind a proxy: over every way in by HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.fakes.control import control_plane

NEAR = ("127.0.0.0/8", "10.0.0.0/8")
LIMIT = 3
PASSWORD = "correct horse battery staple"
ROOT = {"email": "root@example.org", "name": "Root", "password": PASSWORD}
WRONG = {"Authorization": "Bearer nobody"}


async def rest(web: aiohttp.ClientSession, headers: dict[str, str]) -> int:
    async with web.get("/api/tickets", headers=WRONG | headers) as answer:
        return answer.status


async def lines(web: aiohttp.ClientSession, headers: dict[str, str]) -> int:
    async with web.get("/api/tickets/x/watch", headers=WRONG | headers) as answer:
        return answer.status


async def socket(web: aiohttp.ClientSession, headers: dict[str, str], path: str = "/ws") -> int:
    try:
        async with web.ws_connect(path, headers=WRONG | headers):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def console(web: aiohttp.ClientSession, headers: dict[str, str]) -> int:
    return await socket(web, headers, "/api/vms/x/console")


async def first_message(web: aiohttp.ClientSession, headers: dict[str, str]) -> int:
    async with web.ws_connect("/ws", headers=headers) as opened:
        await opened.send_json({"type": "auth", "token": "nobody"})
        said = json.loads((await opened.receive()).data)
    return {"UNAUTHENTICATED": 401, "RESOURCE_EXHAUSTED": 429}[said["code"]]


@pytest.mark.parametrize("ask", [rest, lines, socket, console, first_message])
async def test_guesses_count_for_who_makes_them_and_not_for_the_proxy(
    home: Path, ask: Callable[[aiohttp.ClientSession, dict[str, str]], Awaitable[int]]
) -> None:
    async with (
        control_plane(home, trusted_proxies=NEAR, rate_limit=LIMIT) as control,
        aiohttp.ClientSession(control.url) as web,
    ):
        said = [await ask(web, {"X-Forwarded-For": f"1.1.1.{n}, 9.9.9.9, 10.0.0.2"}) for n in range(LIMIT + 1)]
        assert said == [401] * LIMIT + [429]
        assert await ask(web, {"X-Forwarded-For": "9.9.9.8"}) == 401
        assert await ask(web, {"X-Forwarded-For": "9.9.9.8, 9.9.9.9"}) == 429


async def seen(web: aiohttp.ClientSession, *forwarded: str) -> str:
    """The address that a new login is listed with."""
    headers = [("X-Forwarded-For", each) for each in forwarded]
    body = {"email": ROOT["email"], "password": PASSWORD}
    async with web.post("/api/auth/login", json=body, headers=headers) as answer:
        token = (await answer.json())["tokens"]["access_token"]
    async with web.get("/api/auth/sessions", headers={"Authorization": f"Bearer {token}"}) as answer:
        return str(next(each["address"] for each in (await answer.json())["logins"] if each.get("current")))


async def set_up(home: Path, web: aiohttp.ClientSession) -> None:
    token = (home / "setup.url").read_text().strip().partition("#token=")[2]
    async with web.post("/api/auth/setup", json=ROOT | {"token": token}) as answer:
        assert answer.status == 200


async def test_a_login_is_from_the_last_address_that_no_trusted_proxy_stands_for(home: Path) -> None:
    settings = {"trusted_proxies": NEAR, "rate_limit_auth": 1000}
    async with control_plane(home, **settings) as control, aiohttp.ClientSession(control.url) as web:
        await set_up(home, web)
        assert await seen(web) == "127.0.0.1"
        assert await seen(web, "9.9.9.9") == "9.9.9.9"
        assert await seen(web, "1.1.1.1, 9.9.9.9, 10.0.0.2") == "9.9.9.9"
        assert await seen(web, "1.1.1.1", "9.9.9.9", "10.0.0.2") == "9.9.9.9"
        assert await seen(web, "1.1.1.1", "2001:db8::1") == "2001:db8::1"
        for rubbish in ("", "rubbish", "9.9.9.9, rubbish", "9.9.9.9,", "9.9.9.9:80, \u00e9", "999.1.1.1", "a" * 5000):
            assert await seen(web, rubbish) == "127.0.0.1"


async def test_others_cannot_say_who_they_are(home: Path) -> None:
    settings = {"trusted_proxies": ("10.0.0.0/8",), "rate_limit_auth": 1000}
    async with control_plane(home, **settings) as control, aiohttp.ClientSession(control.url) as web:
        await set_up(home, web)
        for forwarded in ("9.9.9.9", "9.9.9.9, 10.0.0.2", "rubbish"):
            assert await seen(web, forwarded) == "127.0.0.1"
