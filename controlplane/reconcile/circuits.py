"""Feeds the circuit breakers with how attempts end, from the start of the process on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Final

from controlplane import metrics
from controlplane.domain.circuit import CLAUDE, UPSTREAMS, Circuit, CircuitState, observed
from controlplane.domain.event import NewEvent
from controlplane.domain.failure import OF_GIT, Fault, cause_of
from controlplane.domain.ticket import LEASED, SATISFIED, Ticket
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.ports import Bus, Moved, Store
from controlplane.tasks import end
from controlplane.usecases.assignments import runner_name
from controlplane.usecases.needs import upstreams_of

AGENTS: Final = "agents"
WAKE: Final = ("settings",)  # has the scheduler look again


Runner = tuple[str, str]  # tenant and name


@dataclass(frozen=True, slots=True)
class End:
    """Of an attempt; `ok` is False where an upstream is at fault."""

    runner: Runner
    at: float
    ok: bool


class Circuits:
    """One per upstream. Ends that are the ticket's own fault, or a host's, say nothing of an upstream."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._circuits = dict.fromkeys(UPSTREAMS, Circuit())
        self._ends: list[End] = []
        self._needs: dict[Runner, frozenset[str]] = {}
        self._task: asyncio.Task[None] | None = None
        store.watch(self._hear)

    def circuit(self, upstream: str) -> Circuit:
        return self._circuits[upstream]

    def room(self, upstream: str) -> int | None:
        """How many attempts may be live at once that need it; None: any number."""
        states = {CircuitState.CLOSED: None, CircuitState.OPEN: 0, CircuitState.HALF_OPEN: 1}
        return states[self._circuits[upstream].state(self._store.now())]

    async def start(self) -> None:
        self._ends.clear()
        metrics.CLAUDE_CIRCUIT.set_function(lambda: float(self.room(CLAUDE) == 0))
        self._task = asyncio.create_task(self._run(self._bus.subscribe(TICKETS_TOPIC, AGENTS)), name="circuits")

    async def stop(self) -> None:
        await end(self._task)

    def _hear(self, moved: Moved) -> None:
        if told := {each.data["ticket_id"]: ok for each in moved.events if (ok := verdict(each)) is not None}:
            at, tickets = self._store.now(), {ticket.id: ticket for ticket in moved.tickets}
            self._ends += [End(runner_of(tickets[ident]), at, ok) for ident, ok in told.items()]

    async def _run(self, changes: AsyncIterator[frozenset[str]]) -> None:
        async for topics in changes:
            if AGENTS in topics:
                self._needs.clear()
            ends, self._ends = self._ends, []
            await self._learn({each.runner for each in ends} - self._needs.keys())
            before = dict(self._circuits)
            for each in ends:
                for upstream in self._needs[each.runner]:
                    self._circuits[upstream] = observed(self._circuits[upstream], each.at, ok=each.ok)
            if any(before[name].opened_at != one.opened_at for name, one in self._circuits.items()):
                self._bus.notify(WAKE)

    async def _learn(self, runners: Collection[Runner]) -> None:
        if runners:
            self._needs |= await self._store.read(
                lambda reader: {runner: upstreams_of(reader, *runner) for runner in runners}
            )


def runner_of(ticket: Ticket) -> Runner:
    return ticket.tenant_id, runner_name(ticket, None)


def verdict(event: NewEvent) -> bool | None:
    """Whether an attempt ended well, or by the fault of an upstream; None for every other event."""
    move = event.data
    if event.type != "ticket.state" or move["from"] not in LEASED or move["to"] in LEASED:
        return None
    if cause := move.get("cause"):
        known = cause_of(cause)
        return False if known.fault is Fault.UPSTREAM and known.name not in OF_GIT else None
    return True if move["to"] in SATISFIED else None
