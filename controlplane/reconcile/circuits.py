"""Feeds the circuit breakers with how attempts end, from the start of the process on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from controlplane import metrics
from controlplane.domain.circuit import CLAUDE, UPSTREAMS, Circuit, CircuitState, observed
from controlplane.domain.event import Event
from controlplane.domain.failure import OF_GIT, Fault, cause_of
from controlplane.domain.ticket import LEASED, SATISFIED
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.ports import Bus, Reader, Store
from controlplane.tasks import end
from controlplane.usecases.assignments import runner_name
from controlplane.usecases.needs import upstreams_of

BATCH: Final = 500
WAKE: Final = ("settings",)  # has the scheduler look again


class Circuits:
    """One per upstream. Ends that are the ticket's own fault, or a host's, say nothing of an upstream."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._circuits = dict.fromkeys(UPSTREAMS, Circuit())
        self._cursor = 0
        self._task: asyncio.Task[None] | None = None

    def circuit(self, upstream: str) -> Circuit:
        return self._circuits[upstream]

    def room(self, upstream: str) -> int | None:
        """How many attempts may be live at once that need it; None: any number."""
        states = {CircuitState.CLOSED: None, CircuitState.OPEN: 0, CircuitState.HALF_OPEN: 1}
        return states[self._circuits[upstream].state(self._store.now())]

    async def start(self) -> None:
        newest = await self._store.read(lambda reader: reader.tail(TICKETS_TOPIC, 1))
        self._cursor = newest[-1].seq if newest else 0
        metrics.CLAUDE_CIRCUIT.set_function(lambda: float(self.room(CLAUDE) == 0))
        self._task = asyncio.create_task(self._run(), name="circuits")

    async def stop(self) -> None:
        await end(self._task)

    async def _run(self) -> None:
        changes = self._bus.subscribe(TICKETS_TOPIC)
        while True:
            events, ends = await self._store.read(self._news)
            if events:
                self._cursor = events[-1].seq
            before = dict(self._circuits)
            for upstream, at, ok in ends:
                self._circuits[upstream] = observed(self._circuits[upstream], at, ok=ok)
            if any(before[name].opened_at != one.opened_at for name, one in self._circuits.items()):
                self._bus.notify(WAKE)
            if len(events) < BATCH:
                await anext(changes)

    def _news(self, reader: Reader) -> tuple[Sequence[Event], list[tuple[str, float, bool]]]:
        events = reader.events(TICKETS_TOPIC, self._cursor, BATCH, ("ticket.state",))
        told = {event.seq: ok for event in events if (ok := verdict(event.data)) is not None}
        tickets = reader.tickets_by_id(list({event.data["ticket_id"] for event in events if event.seq in told}))
        runners = {ticket.id: (ticket.tenant_id, runner_name(ticket, None)) for ticket in tickets}
        needs = {runner: upstreams_of(reader, *runner) for runner in set(runners.values())}
        return events, [
            (upstream, event.time, told[event.seq])
            for event in events
            if event.seq in told and (runner := runners.get(event.data["ticket_id"]))
            for upstream in sorted(needs[runner])
        ]


def verdict(move: Mapping[str, Any]) -> bool | None:
    """Whether an attempt ended well, or by the fault of an upstream; None for every other move."""
    if move["from"] not in LEASED or move["to"] in LEASED:
        return None
    if cause := move.get("cause"):
        known = cause_of(cause)
        return False if known.fault is Fault.UPSTREAM and known.name not in OF_GIT else None
    return True if move["to"] in SATISFIED else None
