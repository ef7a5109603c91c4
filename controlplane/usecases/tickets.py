"""What callers do with tickets. A ticket is named by its id or its key, and found in the caller's tenant only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from controlplane.domain.call import Call
from controlplane.domain.event import Event, NewEvent
from controlplane.domain.run import RunState
from controlplane.domain.ticket import (
    LEASED,
    TERMINAL,
    Attempt,
    AttemptState,
    Ticket,
    TicketSpec,
    TicketState,
    TicketType,
)
from controlplane.domain.transitions import TICKETS_TOPIC, Action, advance, allows
from controlplane.errors import FailedPrecondition, NotFound
from controlplane.ports import Bus, Page, Reader, Store, TicketFilter, Tx
from controlplane.usecases import filing
from controlplane.usecases.mask import merge
from controlplane.usecases.moves import blocked_by, commit_steps
from controlplane.usecases.runs import close_runs

MAX_EVENTS: Final = 1000
WATCH_BATCH: Final = 256
ANSWERED: Final = "ticket.answer"
UPDATABLE: Final = ("title", "description", "acceptance_criteria", "priority", "tags", "assignee")


def create_ticket(tx: Tx, call: Call, spec: TicketSpec, *, hold: bool) -> Ticket:
    """File one ticket; violations point into `/spec`."""
    planned = filing.plan(tx, call, [spec], ["/spec"])
    return filing.file(tx, call, planned, hold=hold)[0]


def create_tickets(tx: Tx, call: Call, specs: Sequence[TicketSpec], *, hold: bool) -> list[Ticket]:
    """File all of them or none; violations point into `/specs/N`."""
    planned = filing.plan(tx, call, specs, [f"/specs/{index}" for index in range(len(specs))])
    return filing.file(tx, call, planned, hold=hold)


def list_tickets(reader: Reader, call: Call, where: TicketFilter, page: Page) -> tuple[list[Ticket], str]:
    """In the order that the filter names, with the token of the next page, if any. `parent_id` may be a key."""
    if where.parent_id and (parent := reader.ticket(call.principal.tenant_id, where.parent_id)):
        where = replace(where, parent_id=parent.id)
    return reader.tickets(call.principal.tenant_id, where, page)


def get_ticket(reader: Reader, call: Call, ident: str) -> Ticket:
    if ticket := reader.ticket(call.principal.tenant_id, ident):
        return ticket
    raise NotFound(f"there is no ticket {ident}")


def current_attempts(reader: Reader, tickets: Sequence[Ticket]) -> Mapping[str, Attempt]:
    """Return the newest attempt of each ticket that had one, by attempt id."""
    ids = [ticket.attempt_id for ticket in tickets if ticket.attempt_id]
    return {attempt.id: attempt for attempt in reader.attempts_by_id(ids)}


def update_ticket(tx: Tx, call: Call, ident: str, spec: TicketSpec, paths: Sequence[str]) -> Ticket:
    """Take the named fields from `spec`. InvalidInput for a field that cannot change, FailedPrecondition at the end."""
    ticket = get_ticket(tx, call, ident)
    changed = merge(ticket.spec, spec, paths, UPDATABLE)
    if ticket.state in TERMINAL:
        raise FailedPrecondition(f"{ticket.key} is {ticket.state} and takes no more changes", reason="ticket_ended")
    after = replace(ticket, spec=changed, updated_at=call.now)
    tx.save_tickets([(ticket, after)])
    listed = {"ticket_id": ticket.id, "key": ticket.key, "tenant_id": ticket.tenant_id}
    data = {**listed, "fields": sorted(paths), "by": call.principal.name}
    tx.add_events([NewEvent(f"ticket:{ticket.id}", "ticket.updated", data, also=TICKETS_TOPIC)], call.now)
    return after


def release_ticket(tx: Tx, call: Call, ident: str) -> Ticket:
    """Let a held ticket run, or all held children of an epic."""
    ticket = get_ticket(tx, call, ident)
    filing.release(tx, call, _targets(tx, ticket, Action.RELEASE))
    return get_ticket(tx, call, ticket.id)


def retry_ticket(tx: Tx, call: Call, ident: str) -> Ticket:
    """Start over with a failed or cancelled ticket, or all such children of an epic."""
    ticket = get_ticket(tx, call, ident)
    _expect_project(tx, ticket)
    steps = [
        advance(one, Action.RETRY, call.now, blocked_by=blocked_by(tx, one.spec.depends_on))
        for one in _targets(tx, ticket, Action.RETRY)
    ]
    commit_steps(tx, steps, call.now)
    return get_ticket(tx, call, ticket.id)


def cancel_ticket(tx: Tx, call: Call, ident: str, reason: str) -> Ticket:
    """End a ticket for good, or every unfinished child of an epic; its VM is taken away."""
    ticket = get_ticket(tx, call, ident)
    why = reason or f"cancelled by {call.principal.name}"
    targets = _targets(tx, ticket, Action.CANCEL)
    running = tx.attempts_by_id([one.attempt_id for one in targets if one.state in LEASED])
    tx.save_attempts(
        [
            replace(attempt, state=AttemptState.CANCELLED, cause="cancelled", reason=why, finished_at=call.now)
            for attempt in running
        ]
    )
    close_runs(tx, [one for one in targets if one.state in LEASED], RunState.CANCELLED, why, call.now)
    commit_steps(tx, [advance(one, Action.CANCEL, call.now, reason=why) for one in targets], call.now)
    return get_ticket(tx, call, ticket.id)


def answer_question(tx: Tx, call: Call, ident: str, answer: str) -> Ticket:
    """Answer what the ticket's agent asked. FailedPrecondition when it waits for nothing."""
    ticket = get_ticket(tx, call, ident)
    if ticket.state is not TicketState.WAITING:
        raise FailedPrecondition(f"{ticket.key} is {ticket.state} and waits for no answer", reason="no_question")
    topic, number = f"ticket:{ticket.id}", _answered(tx, ticket) + 1
    said = {"question": ticket.question, "answer": answer, "by": call.principal.name}
    told = {**said, "attempt": ticket.attempt_id, "number": number}
    tx.add_events([NewEvent(topic, ANSWERED, told)], call.now)
    commit_steps(tx, [advance(ticket, Action.ANSWER, call.now, text=answer, number=number)], call.now)
    return get_ticket(tx, call, ticket.id)


def _answered(reader: Reader, ticket: Ticket) -> int:
    """How many questions of its attempt were answered."""
    last = next(iter(reader.tail(f"ticket:{ticket.id}", 1, [ANSWERED])), None)
    ours = last is not None and last.data.get("attempt") == ticket.attempt_id
    return int(last.data["number"]) if last and ours else 0


def list_attempts(reader: Reader, call: Call, ident: str) -> list[tuple[Attempt, float | None]]:
    """Oldest first, each with the seconds that its ticket waits for the next one; None where it does not."""
    ticket = get_ticket(reader, call, ident)
    delays = {failure.attempt_id: failure.delay_s for failure in reader.failures(ticket.id)}
    return [(attempt, delays.get(attempt.id)) for attempt in reader.attempts(ticket.id)]


def list_events(
    reader: Reader, call: Call, ident: str, *, cursor: int, limit: int, types: Sequence[str] = (), tail: int = 0
) -> tuple[list[Event], int]:
    """Events after `cursor`, or the newest `tail`; with the cursor to go on from. A limit of 0 means 1000."""
    topic = f"ticket:{get_ticket(reader, call, ident).id}"
    size = min(limit or MAX_EVENTS, MAX_EVENTS)
    events = reader.tail(topic, min(tail, MAX_EVENTS), types) if tail else reader.events(topic, cursor, size, types)
    return events, events[-1].seq if events else cursor


async def watch_ticket(
    store: Store, bus: Bus, call: Call, ident: str, cursor: int
) -> AsyncIterator[tuple[list[Event], Ticket]]:
    """Events after the cursor, then live ones, each time with the ticket as it is after them; endless.

    The first item comes at once, without events if there are none. NotFound before it when there is no such ticket.
    """
    ticket = await store.read(lambda reader: get_ticket(reader, call, ident))
    changes = bus.subscribe(f"ticket:{ticket.id}")
    first = True
    try:
        while True:
            events, ticket = await store.read(partial(_watched, call=call, ident=ticket.id, cursor=cursor))
            if events or first:
                cursor = events[-1].seq if events else cursor
                yield events, ticket
            else:
                await anext(changes)
            first = False
    finally:
        await changes.aclose()


def _watched(reader: Reader, *, call: Call, ident: str, cursor: int) -> tuple[list[Event], Ticket]:
    """Read both from one snapshot: the ticket is never older than the events that come with it."""
    return reader.events(f"ticket:{ident}", cursor, WATCH_BATCH), get_ticket(reader, call, ident)


def _expect_project(reader: Reader, ticket: Ticket) -> None:
    if ticket.spec.project_id and not reader.project(ticket.tenant_id, ticket.spec.project_id):
        raise FailedPrecondition(f"the project of {ticket.key} was deleted", reason="project_deleted")


def _targets(reader: Reader, ticket: Ticket, action: Action) -> list[Ticket]:
    """Return the ticket, or of an epic the children that the action fits. FailedPrecondition when none does."""
    children = reader.children(ticket.id) if ticket.spec.type is TicketType.EPIC else []
    if not children:
        return [ticket]
    fitting = [child for child in children if allows(child, action)]
    if not fitting:
        raise FailedPrecondition(f"{ticket.key} has no child to {action}", reason="illegal_transition")
    return fitting
