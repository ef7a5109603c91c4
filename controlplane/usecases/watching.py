"""Following what happens to all tickets of a tenant, and to one VM."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from controlplane.domain.call import Call
from controlplane.domain.event import Event
from controlplane.domain.ticket import Ticket
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.domain.vm import Vm, VmState, shown
from controlplane.errors import NotFound
from controlplane.ports import Reader
from controlplane.usecases.services import Services
from controlplane.usecases.tickets import WATCH_BATCH
from controlplane.usecases.vms import get_vm

PACE_S: Final = 0.5  # samples of a VM come with every report of its host


@dataclass(frozen=True, slots=True)
class News:
    """Events of a tenant's tickets, the tickets as they are after them, and where to go on from."""

    events: Sequence[Event]
    tickets: Sequence[Ticket]
    cursor: int


async def watch_tickets(services: Services, call: Call, tenant_id: str, cursor: int | None) -> AsyncIterator[News]:
    """Behind the cursor, or from now on; endless. The first item comes at once, and says where that is.

    NotFound for a tenant that is not the caller's.
    """
    if tenant_id not in {"", call.principal.tenant_id}:
        raise NotFound(f"there is no tenant {tenant_id}")
    changes = services.bus.subscribe(TICKETS_TOPIC)
    if cursor is None:
        cursor = await services.store.read(lambda reader: reader.newest_event(TICKETS_TOPIC))
    first = True
    try:
        while True:
            news = await services.store.read(partial(_news, call=call, cursor=cursor))
            if news.events or first:
                yield news
            if news.cursor == cursor and not first:
                await anext(changes)
            cursor, first = news.cursor, False
    finally:
        await changes.aclose()


async def watch_vm(services: Services, call: Call, ident: str) -> AsyncIterator[Vm]:
    """The VM, then whenever it changes; ends with it."""
    changes = services.bus.subscribe("vms", "host:*")
    known: Vm | None = None
    try:
        while known is None or known.state is not VmState.STOPPED:
            stored = await services.store.read(lambda reader: get_vm(reader, call, ident))
            vm = shown(stored, services.fleet.connected())
            if vm != known:
                yield vm
            known = vm
            if vm.state is not VmState.STOPPED:
                await anext(changes)
                await asyncio.sleep(PACE_S)
    finally:
        await changes.aclose()


def _news(reader: Reader, *, call: Call, cursor: int) -> News:
    events = reader.events(TICKETS_TOPIC, cursor, WATCH_BATCH)
    told = [event for event in events if event.data.get("tenant_id") == call.principal.tenant_id]
    found = reader.tickets_by_id(list(dict.fromkeys(str(event.data["ticket_id"]) for event in told)))
    return News(told, found, events[-1].seq if events else cursor)
