"""I21: what a client that reconnects has seen is what is in the table: no gap, no repetition, no other order."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from swarm_sdk import Client, Event, TicketSpec, UnavailableError
from tests.e2e.harness.tickets import data
from tests.fakes import host as fake
from tests.fakes.control import Control, control_plane
from tests.fakes.fault_proxy import FaultProxy, Toxics
from tests.fakes.host import FakeHost
from tests.fakes.scale import scaled, seed

LINES = scaled(400, 20_000)
CUTS = scaled(40, 500)


async def watched(client: Client, ident: str, last: str) -> list[Event]:
    """All that a watch tells up to a line."""
    found: list[Event] = []
    async for answer in client.tickets.watch(ident):
        found += answer.events
        if any(data(event).get("text") == last for event in answer.events):
            break
    return found


async def polled(client: Client, ident: str, last: str) -> list[Event]:
    """The same by pages, with a cursor."""
    found: list[Event] = []
    while not found or data(found[-1]).get("text") != last:
        try:
            found += await client.tickets.events(ident, cursor=found[-1].seq if found else 0, limit=7)
        except UnavailableError:
            continue
    return found


async def cut_often(proxy: FaultProxy, chance: random.Random) -> None:
    while True:
        proxy.arm_cut(200, 20_000)
        await asyncio.sleep(chance.uniform(0.005, 0.05))
        if chance.random() < 0.3:
            proxy.cut()
            proxy.cuts += 1


async def write(host: FakeHost, control: Control, ident: str) -> str:
    """Lines of an agent, over a link without faults; returns the last."""
    ref = (await host.assignment()).attempt
    await host.deliver(fake.running(ref))
    for number in range(LINES):
        await host.send(fake.logged(ref, f"line {number}"))
        await asyncio.sleep(0.002)
    await host.deliver(fake.logged(ref, "the last line"))
    return "the last line"


async def test_what_is_seen_over_a_bad_line_is_what_is_stored(home: Path) -> None:
    chance = random.Random(seed())
    async with (
        control_plane(home) as control,
        control.host() as host,
        control.client() as direct,
        FaultProxy(home / "proxy", control.socket, seed=seed()) as proxy,
        Client(f"unix:{home / 'proxy'}", control.token(), retries=100) as client,
    ):
        made = await direct.tickets.create(TicketSpec(title="x"))
        await proxy.set(down=Toxics(slice_bytes=700, jitter_s=0.001))
        cutting = asyncio.create_task(cut_often(proxy, chance))
        async with asyncio.TaskGroup() as group:
            seen = group.create_task(watched(client, made.id, "the last line"))
            read = group.create_task(polled(client, made.id, "the last line"))
            group.create_task(write(host, control, made.id))
        cutting.cancel()
        await proxy.heal()
        stored = await polled(direct, made.id, "the last line")
        assert proxy.cuts >= CUTS
        assert seen.result() == stored
        assert read.result() == stored
        assert [event.seq for event in stored] == list(range(1, len(stored) + 1))
        assert sum(event.type == "agent.log" for event in stored) == LINES + 1
