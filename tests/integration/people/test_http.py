"""Pictures over REST, and the room of a user on /ws."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.fakes.control import control_plane
from tests.integration.accounts.people import Town
from tests.integration.people.conftest import UNLIMITED
from tests.integration.people.test_avatars import RED, encoded
from tests.integration.people.test_notifications import ask


@pytest.fixture
async def town(home: Path) -> AsyncIterator[Town]:
    """Reached where it listens."""
    async with control_plane(home, **UNLIMITED) as control, control.client() as admin:
        made = Town(control, admin)
        yield made
        for client in made.opened:
            await client.close()


async def test_an_image_is_served_as_itself_with_its_tag(town: Town) -> None:
    user = await town.settle("ann")
    headers = {"Authorization": f"Bearer {(await town.tokens('ann')).access_token}"}
    async with aiohttp.ClientSession(town.control.url, headers=headers) as web:
        body = {"image": base64.b64encode(encoded(RED, "PNG")).decode()}
        async with web.post("/api/auth/me/avatar", json=body) as answer:
            assert answer.status == 200
        path = f"/api/auth/users/{user}/avatar"
        async with web.get(path, headers={"Accept": "image/*"}) as answer:
            assert (answer.status, answer.content_type) == (200, "image/webp")
            assert (await answer.read())[8:12] == b"WEBP"
            tag = answer.headers["ETag"]
        async with web.get(path, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
        async with web.get("/api/auth/users/us_0/avatar") as answer:
            assert (answer.status, answer.content_type) == (404, "application/json")


async def test_the_room_of_a_user_is_followed_by_that_user_alone(town: Town) -> None:
    ann, _ = await town.settle("ann"), await town.settle("bob")
    url, room = town.control.url.replace("http", "ws", 1) + "/ws", f"user:{ann}"
    tokens = {name: (await town.tokens(name)).access_token for name in ("ann", "bob")}
    for name, kind in (("bob", "error"), ("ann", "subscribed")):
        headers = {"Authorization": f"Bearer {tokens[name]}"}
        async with connect(url, additional_headers=headers) as opened, asyncio.timeout(60):
            assert json.loads(await opened.recv())["type"] == "ready"
            await opened.send(json.dumps({"type": "subscribe", "rooms": [room]}))
            assert json.loads(await opened.recv())["type"] == kind
            if name == "ann":
                key = await ask(town)
                told = json.loads(await opened.recv())
                assert (told["type"], told["event"]) == ("notification", "notification.created")
                assert told["data"]["title"] == f"Question about {key}: Paint <it>"
