"""I21: what a client that reconnects has seen is what is in the table: no gap, no repetition, no other order."""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path

from swarm_sdk import Client, Event, TicketSpec, UnavailableError
from tests.e2e.harness.tickets import data
from tests.extent import either, seed
from tests.fakes import host as fake
from tests.fakes.control import control_plane
from tests.fakes.fault_proxy import FaultProxy, Toxics
from tests.fakes.host import FakeHost

log = logging.getLogger(__name__)

CUTS = either(15, 500)
LAST = "the last line"


async def watched(client: Client, ident: str) -> list[Event]:
    """All that a watch tells up to a line."""
    found: list[Event] = []
    async for answer in client.tickets.watch(ident):
        found += answer.events
        if any(data(event).get("text") == LAST for event in answer.events):
            break
    return found


async def polled(client: Client, ident: str) -> list[Event]:
    """The same by pages, with a cursor."""
    found: list[Event] = []
    while not found or data(found[-1]).get("text") != LAST:
        try:
            found += await client.tickets.events(ident, cursor=found[-1].seq if found else 0, limit=7)
        except UnavailableError:
            continue
    return found


async def cut_often(proxy: FaultProxy, chance: random.Random) -> None:
    """Cuts after some bytes or some time, once there is a connection again."""
    while proxy.cuts < CUTS:
        before = proxy.cuts
        if chance.random() < 0.7:
            proxy.arm_cut(200, 20_000)
        await asyncio.sleep(chance.uniform(0.05, 0.3))
        if proxy.cuts == before and proxy.live:
            proxy.down.cut_after = None
            proxy.cut()
            proxy.cuts += 1


async def write(host: FakeHost, ident: str, cutting: asyncio.Task[None]) -> int:
    """Lines of an agent, over a link without faults, as long as there are cuts; returns how many."""
    ref = (await host.assignment()).attempt
    await host.deliver(fake.running(ref))
    count = 0
    while not cutting.done():
        count += 1
        await host.send(fake.logged(ref, f"line {count}"))
        await asyncio.sleep(0.005)
    await host.deliver(fake.logged(ref, LAST))
    return count + 1


async def test_what_is_seen_over_a_bad_line_is_what_is_stored(home: Path) -> None:
    chosen = seed()
    log.warning("SWARM_SEED=%d does it again", chosen)
    chance = random.Random(chosen)
    async with (
        control_plane(home) as control,
        control.host() as host,
        control.client() as direct,
        FaultProxy(home / "proxy", control.socket, seed=chosen) as proxy,
        Client(f"unix:{home / 'proxy'}", control.token(), retries=100) as client,
    ):
        made = await direct.tickets.create(TicketSpec(title="x"))
        await proxy.set(down=Toxics(slice_bytes=700, jitter_s=0.001))
        cutting = asyncio.create_task(cut_often(proxy, chance))
        async with asyncio.TaskGroup() as group:
            seen = group.create_task(watched(client, made.id))
            read = group.create_task(polled(client, made.id))
            written = group.create_task(write(host, made.id, cutting))
        await cutting
        await proxy.heal()
        stored = await polled(direct, made.id)
        assert proxy.cuts >= CUTS
        assert seen.result() == stored
        assert read.result() == stored
        assert [event.seq for event in stored] == list(range(1, len(stored) + 1))
        assert sum(event.type == "agent.log" for event in stored) == written.result()
