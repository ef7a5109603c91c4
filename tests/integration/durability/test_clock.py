"""I26: the wall clock jumps by an hour and back under running processes; leases neither end early nor live for ever."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from swarm_sdk import Client, HostState
from swarm_sdk.types import name_of
from tests.e2e.harness import tickets
from tests.e2e.harness.waiting import eventually
from tests.fakes.shifted import step

ROOT = Path(__file__).parents[3]
TTL_S = 3  # a lease that nobody renews is over after four seconds, and looked at every five


@asynccontextmanager
async def shifted(clock: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    log = clock.with_name(f"{arguments[0]}.log")
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.fakes.shifted", str(clock), *arguments),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}"},
            stderr=stderr,
            start_new_session=True,
        )
    try:
        yield process
    except BaseException as error:
        error.add_note(log.read_text()[-3000:])
        raise
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_a_step_of_the_wall_clock_ends_no_lease_and_keeps_none(home: Path) -> None:
    clock = home.parent / "clock"
    step(clock, 0)
    control = ("controlplane", "--state-dir", str(home), "--lease-ttl", str(TTL_S))
    link = ("--control", f"unix:{home / 'controlplane.sock'}", "--token-file", str(home / "hosts/local.token"))
    host = ("hostd", "--state-dir", str(home.parent / "host"), "--instance", "local", "--driver", "sim", *link)
    async with shifted(clock, *control):
        await eventually(lambda: served(home), "the control plane is up")
        async with shifted(clock, *host) as daemon, Client.open(home) as client:
            await eventually(lambda: online(client), "the host is online")
            made = await client.tickets.create(tickets.shell(f"sleep {2 * TTL_S + 1}"))
            await tickets.reached(client, made.id, "running")
            for offset in (3600, -3600, 0, 3600):
                step(clock, offset)
                await asyncio.sleep(TTL_S / 2)
            done = await tickets.settled(client, made.id)
            assert name_of(done, "state") == "completed"
            assert len(await tickets.attempts(client, made.id)) == 1

            forgotten = await client.tickets.create(tickets.shell("sleep 600"))
            await tickets.reached(client, forgotten.id, "running")
            daemon.kill()
            await daemon.wait()
            step(clock, -3600)
            await tickets.reached(client, forgotten.id, "ready")
            (attempt,) = await tickets.attempts(client, forgotten.id)
            assert (name_of(attempt, "state"), attempt.cause) == ("lost", "host_lost")


async def served(home: Path) -> bool:
    return (home / "controlplane.sock").exists() and (home / "hosts/local.token").exists()


async def online(client: Client) -> bool:
    return [each.state for each in await client.hosts.list()] == [HostState.HOST_STATE_ONLINE]
