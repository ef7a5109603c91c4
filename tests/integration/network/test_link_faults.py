"""The host link over a bad network: real hosts, real control plane, the fault proxy between them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
import tarfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from swarm_sdk import Client, Ticket, TicketSpec, TicketState
from swarm_sdk.types import name_of
from tests.e2e.harness import tickets
from tests.e2e.harness.upstream import Upstream
from tests.e2e.harness.waiting import eventually
from tests.extent import either, seed
from tests.fakes.control import Control, control_plane
from tests.fakes.fault_proxy import End, FaultProxy, Toxics
from tests.fakes.host_process import HostProcess

log = logging.getLogger(__name__)

CUTS = either(10, 500)
TICKETS = either(12, 400)
TTL_S = 3


def anything_goes() -> bytes:
    """An agent whose input may script the simulation."""
    manifest = {"name": "scripted", "version": "1.0.0", "command": ["./run"], "input_schema": {"type": "object"}}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in (("agent.json", json.dumps(manifest)), ("run", "#!/bin/sh\n")):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content.encode()))
    return data.getvalue()


def scripted(number: int, **script: float) -> TicketSpec:
    spec = TicketSpec(title=f"Number {number}", agent="scripted")
    spec.input.update({"sim": script})
    return spec


@asynccontextmanager
async def host(control: Control, home: Path, name: str, address: Path, *options: str) -> AsyncIterator[HostProcess]:
    made = HostProcess(home.parent / name, f"unix:{address}", *options, instance=name)
    await made.start(token=control.token(name))
    try:
        yield made
    except BaseException as error:
        error.add_note(made.words()[-3000:])
        raise
    finally:
        await made.end()


async def online(client: Client, name: str) -> None:
    async def attached() -> bool:
        found = {each.name: name_of(each, "state") for each in await client.hosts.list()}
        return found.get(name) == "online"

    await eventually(attached, f"{name} is online")


async def cutter(proxy: FaultProxy, chance: random.Random) -> None:
    """Cuts the link again and again, each time after another number of bytes; some latency, some slices."""
    while proxy.cuts < CUTS:
        end = chance.choice(list(End))
        await proxy.set(
            up=Toxics(latency_s=chance.uniform(0, 0.004), slice_bytes=chance.choice([0, 0, 500])),
            down=Toxics(jitter_s=chance.uniform(0, 0.002)),
        )
        before = proxy.cuts
        proxy.arm_cut(300, 6000, end)
        for _ in range(200):
            if proxy.cuts > before:
                break
            await asyncio.sleep(0.01)
    await proxy.heal()


async def test_hundreds_of_cuts_lose_and_double_nothing(home: Path) -> None:
    upstream = Upstream.create(home.parent / "up.git", {"a.txt": "one\n"})
    chosen = seed()
    log.warning("SWARM_SEED=%d does it again", chosen)
    chance = random.Random(chosen)
    async with (
        control_plane(home) as control,
        control.client() as client,
        FaultProxy(home / "proxy", control.socket, seed=chosen) as proxy,
        host(control, home, "local", home / "proxy", "--max-vms", "8"),
    ):
        await online(client, "local")
        await client.registry.publish(anything_goes())
        project = await tickets.project(client, upstream)
        specs = [scripted(number, run_for_ms=chance.randint(0, 400), logs=20) for number in range(TICKETS)]
        specs += [tickets.shell(f"echo {n} > {n}.txt", project_id=project.id) for n in range(either(2, 20))]
        made = await client.tickets.create_all(specs)
        cutting = asyncio.create_task(cutter(proxy, chance))
        done = [await tickets.settled(client, each.id) for each in made]
        await cutting
        assert proxy.cuts >= CUTS
        for each in done:
            await check_once(client, each)
        found = await client.pull_requests.list(project_id=project.id)
        assert len(found) == len({each.ticket_id for each in found}) == either(2, 20)


async def check_once(client: Client, done: Ticket) -> None:
    """It ended well and once; fences only grew; each line of its agent is there once, in order."""
    wanted = "in_review" if done.spec.project_id else "completed"
    assert name_of(done, "state") == wanted, await tickets.story(client, done.id)
    moves = [tickets.data(event) for event in await tickets.events(client, done.id, "ticket.state")]
    assert Counter(str(move["to"]) for move in moves if move["from"] != move["to"])[wanted] == 1, moves
    attempts = await tickets.attempts(client, done.id)
    fences = [each.fence for each in attempts]
    assert fences == sorted(set(fences))
    assert [name_of(each, "state") for each in attempts].count("succeeded") == 1
    for attempt in attempts:
        logged = [
            int(tickets.data(event)["seq"])
            for event in await tickets.events(client, done.id, "agent.log")
            if tickets.data(event)["attempt"] == attempt.id
        ]
        assert logged == sorted(set(logged)), logged


@pytest.mark.parametrize("end", [End.DOWN, End.UP] if either(0, 1) else [End.DOWN], ids=str)
async def test_a_half_open_link_is_given_up_before_its_work_goes_elsewhere(home: Path, end: End) -> None:
    """The host hears nothing although its connection stands. Lease of 3 s: it gives up after 2, others may after 4."""
    async with (
        control_plane(home, lease_ttl=TTL_S) as control,
        control.client() as client,
        FaultProxy(home / "proxy", control.socket) as proxy,
        host(control, home, "local", home / "proxy") as cut_off,
    ):
        await online(client, "local")
        await client.registry.publish(anything_goes())
        async with host(control, home, "other", control.socket):
            await online(client, "other")
            await client.hosts.cordon("other")
            # Longer than the host may go on alone: it cannot end before.
            made = await client.tickets.create(scripted(1, run_for_ms=3500))
            await tickets.reached(client, made.id, "running")
            await client.hosts.uncordon("other")
            await proxy.set(**{"up" if end is End.UP else "down": Toxics(swallow=True)})
            done = await tickets.settled(client, made.id)
            assert "no answer to renewals" in cut_off.words(), "the stream was not replaced"
            await proxy.heal()
            # Whoever was waited for in vain is told that its attempt is over, and ends it unheard.
            proxy.cut()
            await online(client, "local")
            attempts = await tickets.attempts(client, made.id)
            assert [name_of(each, "state") for each in attempts] == ["lost", "succeeded"], cut_off.words()
            assert attempts[0].cause == "host_lost"
            assert attempts[0].host_id != attempts[1].host_id
            assert fenced_at(cut_off) < attempts[1].assigned_at.ToDatetime(UTC)
            assert done.state == TicketState.TICKET_STATE_COMPLETED
            await eventually(lambda: ended(client, attempts[0].vm_id), "the old VM is gone")


def fenced_at(process: HostProcess) -> datetime:
    lines = [json.loads(line) for line in process.words().splitlines() if line.startswith("{")]
    (first, *_) = [line for line in lines if "no renewal succeeded in time" in line["message"]]
    return datetime.fromisoformat(first["time"])


async def ended(client: Client, vm_id: str) -> bool:
    return vm_id not in {vm.id for vm in await client.vms.list()}
