"""Keeps the metrics that are counted from events and rows, not from calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from controlplane import metrics
from controlplane.domain.ticket import TicketState
from controlplane.ports import Bus, Moved, Store
from controlplane.tasks import end

TOPIC: Final = "tickets"
LEASE_LOST: Final = "host_lost"
PAUSE_S: Final = 1.0  # nobody scrapes more often, and counting costs the same whether much or little has changed


class Gauges:
    """Follows what happens to tickets from the start of the process on."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._moves: Counter[str] = Counter()
        self._causes: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        store.watch(self._hear)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        await end(self._task)

    def _hear(self, moved: Moved) -> None:
        for event in moved.events:
            if event.type == "ticket.state":
                self._moves[event.data["to"]] += 1
                if cause := event.data.get("cause"):
                    self._causes[cause] += 1

    async def _run(self) -> None:
        changes = self._bus.subscribe(TOPIC)
        while True:
            counts = await self._store.read(lambda reader: reader.ticket_counts())
            metrics.QUEUE_DEPTH.set(counts.get(TicketState.READY, 0))
            metrics.LEASE_LOSSES.inc(self._causes[LEASE_LOST])
            for counter, seen in ((metrics.TICKETS, self._moves), (metrics.FAILURES, self._causes)):
                for name, count in seen.items():
                    counter.labels(name).inc(count)
                seen.clear()
            await anext(changes)
            await asyncio.sleep(PAUSE_S)
