"""From the SIGKILL of a host with twenty running tickets until all of them run again on the others."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

import uvloop

from bench.control import Control, control_plane, wait_for_hosts, wait_until_ready
from bench.dispatch import Fleet, fleet
from bench.measure import Row, figures
from swarm_sdk.client import Client
from swarm_sdk.types import TicketSpec, TicketState

NAME = "recovery"
SUMMARY = "SIGKILL of a host with 20 running tickets, until all run again on four others"

VICTIM = "victim"
OTHERS = ("other-1", "other-2", "other-3", "other-4")
TICKETS = 20
TTL_S = 6
GRACE_S = TTL_S / 3
SWEEP_S = TTL_S / 9
BOUND_S = TTL_S + GRACE_S + SWEEP_S
LOOK_S = 0.02
"""How exactly the end is seen."""
PER_SAMPLE, LEAST = 20, 2
"""Rounds asked for that one kill stands for: each takes a lease's whole life."""


class Scene:
    """One control plane, its hosts as processes of their own."""

    def __init__(self, control: Control, client: Client) -> None:
        self._control = control
        self._client = client

    async def once(self) -> float:
        """Seconds."""
        with fleet(self._control, (VICTIM,), "--hold") as victim:
            # One of the round before comes back as a host that its operator has started again.
            await wait_for_hosts(self._client, [VICTIM])
            await self._only_the_victim()
            filed = await self._client.tickets.create_all(TicketSpec(title=f"Ticket {n}") for n in range(TICKETS))
            await self._until_running(attempt=1)
            for name in OTHERS:
                await self._client.hosts.uncordon(name)
            seconds = await self._kill(victim)
        for ticket in filed:
            await self._client.tickets.cancel(ticket.id)
        return seconds

    async def _only_the_victim(self) -> None:
        for name in OTHERS:
            await self._client.hosts.cordon(name)

    async def _kill(self, victim: Fleet) -> float:
        began = time.monotonic()
        victim.process.kill()
        await self._until_running(attempt=2)
        return time.monotonic() - began

    async def _until_running(self, attempt: int) -> None:
        async with asyncio.timeout(10 * BOUND_S):
            while True:
                running = await self._client.tickets.list(states=[TicketState.TICKET_STATE_RUNNING])
                if sum(ticket.current_attempt.number == attempt for ticket in running) == TICKETS:
                    return
                await asyncio.sleep(LOOK_S)


async def measure(control: Control, kills: int) -> list[float]:
    async with Client.open(control.state) as client:
        await wait_for_hosts(client, OTHERS)
        # In the first TTL after a start nothing expires, so that hosts have time to come back.
        await asyncio.sleep(TTL_S)
        scene = Scene(control, client)
        return [await scene.once() for _ in range(kills)]


def run(n: int) -> list[Row]:
    with ExitStack() as stack:
        control = stack.enter_context(control_plane((VICTIM, *OTHERS), "--lease-ttl", str(TTL_S)))
        uvloop.run(wait_until_ready(control))
        for name in OTHERS:
            stack.enter_context(fleet(control, (name,), "--hold"))
        seconds = uvloop.run(measure(control, max(LEAST, n // PER_SAMPLE)))
    note = f"TTL {TTL_S} s + grace {GRACE_S:.0f} s + sweep {SWEEP_S:.2f} s; no peer: without leases a person notices"
    return [Row("kill to all 20 running again", "s", figures(seconds), goal=f"<= {BOUND_S:.2f} s", note=note)]
