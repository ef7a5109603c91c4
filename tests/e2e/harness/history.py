"""What clients saw of a run, and what was done to it, in order: a ticket accepted, an event received, a fault."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from swarm_sdk.client import Client
from swarm_sdk.errors import ResourceExhaustedError, SwarmError, UnavailableError
from swarm_sdk.types import Ticket, TicketSpec, name_of
from tests.e2e.harness import tickets
from tests.e2e.harness.waiting import eventually

PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Op:
    """`at`: seconds of the monotonic clock. `wall`: the same moment by the clock that the control plane uses."""

    at: float
    wall: float
    kind: str
    subject: str
    data: Mapping[str, Any] = field(default_factory=dict)


class History:
    """Kinds: `accepted` (a ticket), `seen` (an event of a ticket), `listed` (a ticket at rest), and faults."""

    def __init__(self) -> None:
        self.ops: list[Op] = []

    def add(self, kind: str, subject: str, **data: Any) -> Op:
        op = Op(time.monotonic(), time.time(), kind, subject, data)
        self.ops.append(op)
        return op

    def of(self, kind: str) -> list[Op]:
        return [op for op in self.ops if op.kind == kind]

    def save(self, path: Path) -> Path:
        """One JSON object per line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(asdict(op), default=str) + "\n" for op in self.ops))
        return path


class Recorder:
    """Clients of a deployment whose control plane comes and goes: they try again until they know."""

    def __init__(self, client: Client, history: History) -> None:
        self._client = client
        self.history = history
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._cursors: dict[str, int] = {}
        self._keys = itertools.count(1)

    async def create(self, specs: Sequence[TicketSpec], *, watch: bool = True) -> list[Ticket]:
        """File tickets, all or none; with the same key until there is an answer."""
        made = await self._until_created(specs, f"recorded-{next(self._keys)}")
        for ticket in made:
            self.history.add("accepted", ticket.id, key=ticket.key)
            if watch:
                self._watches[ticket.id] = asyncio.create_task(self._watch(ticket.id))
        return list(made)

    async def _until_created(self, specs: Sequence[TicketSpec], key: str) -> Sequence[Ticket]:
        while True:
            try:
                return await self._client.tickets.create_all(specs, key=key)
            except (UnavailableError, ResourceExhaustedError):
                await asyncio.sleep(PAUSE_S)

    async def _watch(self, ident: str) -> None:
        self._cursors[ident] = 0
        while True:
            try:
                async with aclosing(self._client.tickets.watch(ident, cursor=self._cursors[ident])) as answers:
                    async for answer in answers:
                        for event in answer.events:
                            self.history.add("seen", ident, seq=event.seq, type=event.type, data=tickets.data(event))
                            self._cursors[ident] = event.seq
            except (UnavailableError, ResourceExhaustedError):
                await asyncio.sleep(PAUSE_S)

    async def listed(self, idents: Iterable[str]) -> list[Ticket]:
        """The tickets as they are now."""
        found = {ticket.id: ticket for ticket in await self._everything()}
        return [found[ident] for ident in idents if ident in found]

    async def _everything(self) -> Sequence[Ticket]:
        while True:
            try:
                return await self._client.tickets.list()
            except SwarmError:
                await asyncio.sleep(PAUSE_S)

    async def _caught_up(self, ident: str) -> bool:
        newest = await self._client.tickets.events(ident, tail=1)
        return bool(newest) and self._cursors[ident] >= newest[-1].seq

    async def close(self) -> None:
        """Note what the API says of every ticket, let the watches catch up, and end them."""
        for ticket in await self._everything():
            self.history.add("listed", ticket.id, state=name_of(ticket, "state"), fence=ticket.fence)
        for ident in self._watches:
            await eventually(functools.partial(self._caught_up, ident), f"the watch of {ident} catches up")
        for task in self._watches.values():
            task.cancel()
        ended = await asyncio.gather(*self._watches.values(), return_exceptions=True)
        for error in ended:
            if not isinstance(error, asyncio.CancelledError) and error is not None:
                raise error
