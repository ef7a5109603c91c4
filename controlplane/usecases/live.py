"""What runs now: reading it, following it, and acting on its VM."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Final

from controlplane.domain.call import Call
from controlplane.domain.claim import is_external
from controlplane.domain.event import Event
from controlplane.domain.live import LiveAgent, is_live, state_of
from controlplane.domain.ticket import LEASED, Attempt, Ticket
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.errors import FailedPrecondition, NotFound
from controlplane.ports import Page, Reader, TicketFilter
from controlplane.usecases import vms
from controlplane.usecases.assignments import agent_of
from controlplane.usecases.services import Services

TAIL: Final = 20
SEARCHED: Final = 1000
PACE_S: Final = 0.5  # a watcher is told no more often, however much agents say
_ALL: Final = 1000

LOG, PROGRESS = "agent.log", "agent.progress"


def list_live(reader: Reader, call: Call, project_id: str, page: Page) -> tuple[list[LiveAgent], str]:
    """In the order of the tickets' keys, with the token of the next page; a page may hold fewer than asked for."""
    where = TicketFilter(tuple(LEASED), project_id)
    found, token = reader.tickets(call.principal.tenant_id, where, page)
    live = [ticket for ticket in found if is_live(ticket)]
    attempts = {each.id: each for each in reader.attempts_by_id([ticket.attempt_id for ticket in live])}
    return [_shown(reader, ticket, attempts[ticket.attempt_id]) for ticket in live], token


def get_live(reader: Reader, call: Call, ident: str) -> LiveAgent:
    """By the id of its attempt, or by its ticket. NotFound once it has ended."""
    ticket, attempt = _attempt(reader, call, ident)
    if not is_live(ticket) or ticket.attempt_id != attempt.id:
        raise NotFound(f"agent {ident} has ended", reason="agent_ended")
    return _shown(reader, ticket, attempt)


def logs(reader: Reader, call: Call, ident: str, tail: int) -> list[Event]:
    """The newest lines of one attempt, oldest first; of all attempts only the last lines of the ticket are searched."""
    ticket, attempt = _attempt(reader, call, ident)
    lines = reader.tail(f"ticket:{ticket.id}", SEARCHED, (LOG,))
    return [line for line in lines if line.data.get("attempt") == attempt.id][-(tail or TAIL) :]


async def pause(services: Services, call: Call, ident: str) -> LiveAgent:
    await vms.pause_vm(services, call, await _vm(services, call, ident))
    return await services.store.read(lambda reader: get_live(reader, call, ident))


async def resume(services: Services, call: Call, ident: str) -> LiveAgent:
    await vms.resume_vm(services, call, await _vm(services, call, ident))
    return await services.store.read(lambda reader: get_live(reader, call, ident))


async def terminate(services: Services, call: Call, ident: str) -> None:
    """Its VM is destroyed; the host reports the attempt as lost, and the ticket is placed again."""
    await vms.delete_vm(services, call, await _vm(services, call, ident))


async def watch(
    services: Services, call: Call, project_id: str
) -> AsyncIterator[tuple[Sequence[LiveAgent], Sequence[str]]]:
    """All that run, at once; then those that began or changed, and the ids of attempts that ended. Endless."""
    known: Mapping[str, LiveAgent] = {}
    changes = services.bus.subscribe(TICKETS_TOPIC, "vms", "ticket:*")
    first = True
    try:
        while True:
            now = await services.store.read(partial(_all, call=call, project_id=project_id))
            changed = [agent for ident, agent in now.items() if known.get(ident) != agent]
            ended = [ident for ident in known if ident not in now]
            if changed or ended or first:
                yield changed, ended
            known, first = now, False
            await anext(changes)
            await asyncio.sleep(PACE_S)
    finally:
        await changes.aclose()


def _all(reader: Reader, *, call: Call, project_id: str) -> dict[str, LiveAgent]:
    found, token = dict[str, LiveAgent](), ""
    while True:
        agents, token = list_live(reader, call, project_id, Page(_ALL, token))
        found |= {agent.attempt.id: agent for agent in agents}
        if not token:
            return found


def _attempt(reader: Reader, call: Call, ident: str) -> tuple[Ticket, Attempt]:
    tenant = call.principal.tenant_id
    attempt = reader.attempt(ident)
    ticket = reader.ticket(tenant, attempt.ticket_id if attempt else ident)
    attempt = attempt or (reader.attempt(ticket.attempt_id) if ticket else None)
    if ticket is None or attempt is None:
        raise NotFound(f"there is no agent {ident}")
    return ticket, attempt


async def _vm(services: Services, call: Call, ident: str) -> str:
    agent = await services.store.read(lambda reader: get_live(reader, call, ident))
    if not agent.attempt.vm_id:
        what = "runs in a sandbox of its own" if is_external(agent.ticket.host_id) else "has no VM yet"
        raise FailedPrecondition(f"the agent of {agent.ticket.key} {what}", reason="no_vm")
    return agent.attempt.vm_id


def _shown(reader: Reader, ticket: Ticket, attempt: Attempt) -> LiveAgent:
    topic = f"ticket:{ticket.id}"
    vm = reader.vm(attempt.vm_id, ticket.tenant_id) if attempt.vm_id else None
    said = [event for event in reader.tail(topic, 1, (PROGRESS,)) if event.data.get("attempt") == attempt.id]
    last = [event.time for event in reader.tail(topic, 1)]
    return LiveAgent(
        ticket=ticket,
        attempt=attempt,
        state=state_of(ticket, vm),
        agent=agent_of(reader, ticket),
        host_name=_place(reader, ticket, attempt),
        progress=str(said[0].data.get("text", "")) if said else "",
        last_activity_at=max(last, default=attempt.assigned_at),
    )


def _place(reader: Reader, ticket: Ticket, attempt: Attempt) -> str:
    if is_external(ticket.host_id):
        claim = reader.claim(attempt.id)
        return claim.worker if claim else ""
    host = reader.host(ticket.host_id)
    return host.name if host else ""
