from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from controlplane import metrics
from controlplane.domain.circuit import CLAUDE, CircuitState
from controlplane.domain.lease import LeaseRef
from controlplane.domain.ticket import TicketState
from controlplane.events.bus import LocalBus
from controlplane.ports import Store, Tx
from controlplane.reconcile.circuits import Circuits
from controlplane.stores.sqlite import SqliteStore
from controlplane.usecases import placement
from controlplane.usecases.placement import AttemptResult
from tests.fakes.seeds import NOW, a_ticket, an_agent, an_attempt

S = TicketState
HEAD = "c" * 40


@pytest.fixture
async def bus() -> LocalBus:
    return LocalBus()


@pytest.fixture
async def store(bus: LocalBus) -> AsyncIterator[Store]:
    made = SqliteStore(":memory:", bus, inline=True, clock=lambda: NOW)
    await made.open()
    await made.write(lambda tx: tx.add_agent(an_agent("claude", upstreams=("claude",)), b""))
    await made.write(lambda tx: tx.add_agent(an_agent("echo"), b""))
    yield made
    await made.close()


async def ends(store: Store, number: int, *, cause: str = "", agent: str = "claude") -> None:
    """An attempt that was running comes to its end."""
    ticket = a_ticket(number, S.RUNNING, agent=agent, fence=1, host_id="hs_1", lease_expires_at=NOW + 45)
    attempt = an_attempt(ticket)
    held = replace(ticket, attempt_id=attempt.id)

    def work(tx: Tx) -> None:
        tx.add_tickets([held])
        tx.add_attempts([attempt])
        result = AttemptResult(ok=not cause, cause=cause, head="" if cause else HEAD)
        placement.finished(tx, "hs_1", LeaseRef(attempt.id, ticket.id, 1), NOW, result)

    await store.write(work)


async def settled(circuits: Circuits, ended: int) -> None:
    async with asyncio.timeout(60):
        while circuits.circuit(CLAUDE).within(NOW)[0] < ended:  # noqa: ASYNC110 - nothing tells of the change
            await asyncio.sleep(0)


async def test_only_what_an_upstream_did_to_those_who_need_it_counts(store: Store, bus: LocalBus) -> None:
    circuits = Circuits(store, bus)
    await circuits.start()
    await ends(store, 1, cause="upstream_down", agent="echo")
    await ends(store, 2, cause="agent_crashed")
    await ends(store, 6, cause="git_down")
    await ends(store, 7, cause="git_rate_limited")
    await ends(store, 3)
    await ends(store, 4, cause="upstream_rate_limited")
    await settled(circuits, 2)
    assert circuits.circuit(CLAUDE).within(NOW) == (2, 1)
    assert circuits.room(CLAUDE) is None
    assert b"swarm_claude_circuit_open 0.0" in metrics.rendered()[0]
    woken = bus.subscribe("settings")
    await ends(store, 5, cause="upstream_down")
    await settled(circuits, 3)
    assert (circuits.circuit(CLAUDE).state(NOW), circuits.room(CLAUDE)) == (CircuitState.OPEN, 0)
    assert b"swarm_claude_circuit_open 1.0" in metrics.rendered()[0]
    assert await anext(woken) == {"settings"}
    await circuits.stop()
