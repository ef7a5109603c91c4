"""The whole path through a real deployment: from an assignment's arrival at its host to the start of the agent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvloop

from bench.measure import WARM_UP, Row, figures
from bench.vms import cache
from swarm_sdk.client import Client
from swarm_sdk.types import Attempt, TicketSpec

NAME = "assignment"
SUMMARY = "from a ticket's assignment to the start of its agent, with a pool and without"

PEER = "no pool: slot, VMM and restore on demand"
NO_POOL = {f"SWARM_HOSTD_POOL_{kind}_{mark}": "0" for kind in ("READY", "SPAWNED") for mark in ("LOW", "HIGH")}
SETTLE_S = 1.0
"""Time to fill the pool again between two tickets: the bench is about one ticket, not about a queue."""
PARTS = {"to the running VM": "boot_us", "to its first request": "ready_us", "to the start of the agent": "agent_us"}


@contextmanager
def deployment(settings: Mapping[str, str]) -> Iterator[Path]:
    """A control plane and one host in a directory of their own; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="swarm-bench-") as folder:
        Path(folder).chmod(0o711)  # the host's unprivileged parts have to pass through
        state = Path(folder) / "state"
        environment = {**os.environ, **settings, "SWARM_HOSTD_CACHE_DIR": str(cache()), "SWARM_STATE_DIR": str(state)}
        try:
            _swarm("up", environment)
            yield state
        finally:
            _swarm("down", environment)


def _swarm(verb: str, environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "swarm_cli.main", verb]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def attempt(client: Client) -> Attempt:
    """One ticket without a repository, run to its end."""
    await asyncio.sleep(SETTLE_S)
    ticket = await client.tickets.create(TicketSpec(title="bench", agent="echo"))
    done = await client.tickets.wait(ticket.id, timeout_s=120)
    return done.current_attempt


async def measure(n: int, ours: Path, peer: Path) -> tuple[list[Attempt], list[Attempt]]:
    """Attempts of both deployments in turns."""
    async with Client.open(ours) as with_pool, Client.open(peer) as without:
        rounds = [(await attempt(with_pool), await attempt(without)) for _ in range(n + WARM_UP)][WARM_UP:]
    return [each for each, _ in rounds], [each for _, each in rounds]


def run(n: int) -> list[Row]:
    """One ticket at a time; milliseconds on the host's monotonic clock."""
    with ExitStack() as stack:
        ours = stack.enter_context(deployment({}))
        peer = stack.enter_context(deployment(NO_POOL))
        measured, compared = uvloop.run(measure(n, ours, peer))
    return [
        Row(
            metric,
            "ms",
            figures([getattr(each.boot, field) / 1e3 for each in measured]),
            PEER,
            figures([getattr(each.boot, field) / 1e3 for each in compared]),
        )
        for metric, field in PARTS.items()
    ]
