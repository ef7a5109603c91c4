"""Keeps the metrics that are counted from events and rows, not from calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final

from controlplane import metrics
from controlplane.domain.ticket import TicketState
from controlplane.ports import Bus, Reader, Store

TOPIC: Final = "tickets"
BATCH: Final = 1000
LEASE_LOST: Final = "host_lost"
PAUSE_S: Final = 1.0  # nobody scrapes more often, and counting costs the same whether much or little has changed


class Gauges:
    """Follows the topic of all tickets from the start of the process on."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._cursor = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        newest = await self._store.read(lambda reader: reader.tail(TOPIC, 1))
        self._cursor = newest[-1].seq if newest else 0
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        changes = self._bus.subscribe(TOPIC)
        while True:
            ready, moves = await self._store.read(self._news)
            metrics.QUEUE_DEPTH.set(ready)
            for move in moves:
                metrics.TICKETS.labels(str(move.get("to"))).inc()
                if cause := move.get("cause"):
                    metrics.FAILURES.labels(str(cause)).inc()
                    metrics.LEASE_LOSSES.inc(cause == LEASE_LOST)
            if len(moves) < BATCH:
                await anext(changes)
                await asyncio.sleep(PAUSE_S)

    def _news(self, reader: Reader) -> tuple[int, list[Mapping[str, Any]]]:
        """How many tickets are ready, and the data of the moves since the last time."""
        events = reader.events(TOPIC, self._cursor, BATCH, ("ticket.state",))
        if events:
            self._cursor = events[-1].seq
        return reader.ticket_counts().get(TicketState.READY, 0), [event.data for event in events]
