"""I21 over /ws: what a client that comes back with its cursor was told is what is stored, however often it is cut."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from swarm_sdk import TicketSpec
from tests.extent import either, seed
from tests.fakes import host as fake
from tests.fakes.control import control_plane
from tests.fakes.fault_proxy import FaultProxy, Toxics
from tests.fakes.host import FakeHost

log = logging.getLogger(__name__)

CUTS = either(10, 300)
LAST = "the last line"


async def watched(url: str, room: str) -> list[dict[str, Any]]:
    """All events up to the last line, over as many sockets as that takes."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["data"].get("text") != LAST:
        cursor = found[-1]["seq"] if found else 0
        try:
            async with asyncio.timeout(60), connect(url, open_timeout=2, close_timeout=0.1) as opened:
                await opened.send(json.dumps({"type": "subscribe", "rooms": [room], "cursor": cursor}))
                async for text in opened:
                    event = json.loads(text)
                    if "seq" in event:
                        found.append(event)
                    if event.get("data", {}).get("text") == LAST:
                        break
        except (OSError, WebSocketException, InvalidHandshake):
            await asyncio.sleep(0.01)
    return found


async def cut_often(proxy: FaultProxy, chance: random.Random) -> None:
    while proxy.cuts < CUTS:
        before = proxy.cuts
        if chance.random() < 0.7:
            proxy.arm_cut(500, 20_000)
        await asyncio.sleep(chance.uniform(0.05, 0.2))
        if proxy.cuts == before and proxy.live:
            proxy.down.cut_after = None
            proxy.cut()
            proxy.cuts += 1


async def write(host: FakeHost, cutting: asyncio.Task[None]) -> None:
    ref = (await host.assignment()).attempt
    await host.deliver(fake.running(ref))
    count = 0
    while not cutting.done():
        count += 1
        await host.send(fake.logged(ref, f"line {count}"))
        await asyncio.sleep(0.005)
    await host.deliver(fake.logged(ref, LAST))


async def test_what_rooms_tell_over_a_bad_line_is_what_is_stored(home: Path) -> None:
    chosen = seed()
    log.warning("SWARM_SEED=%d does it again", chosen)
    chance = random.Random(chosen)
    async with control_plane(home) as control, control.host() as host, control.client() as direct:
        where = urlsplit(control.url)
        target = (str(where.hostname), where.port or 0)
        async with FaultProxy(("127.0.0.1", 0), target, seed=chosen) as proxy:
            made = await direct.tickets.create(TicketSpec(title="x"))
            await proxy.set(down=Toxics(slice_bytes=700, jitter_s=0.001))
            assert isinstance(proxy.address, tuple)
            url = f"ws://127.0.0.1:{proxy.address[1]}/ws?token={control.token()}"
            cutting = asyncio.create_task(cut_often(proxy, chance))
            async with asyncio.TaskGroup() as group:
                clients = [group.create_task(watched(url, f"ticket:{made.id}")) for _ in range(3)]
                group.create_task(write(host, cutting))
            assert proxy.cuts >= CUTS
        stored = await direct.tickets.events(made.id)
        kept = [(event.seq, event.type) for event in stored]
        assert [seq for seq, _ in kept] == list(range(1, len(kept) + 1))
        for client in clients:
            assert [(event["seq"], event["event"]) for event in client.result()] == kept
