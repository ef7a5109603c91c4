"""Deleting tickets: those that are held or over, and that nothing else needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from controlplane.domain.call import Call
from controlplane.domain.cleanup import REMOVE_BRANCHES
from controlplane.domain.event import Effect, NewEvent
from controlplane.domain.pullrequest import PullRequestState
from controlplane.domain.ticket import TERMINAL, Ticket, TicketState, TicketType
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.errors import FailedPrecondition
from controlplane.ports import Reader, Tx
from controlplane.usecases.moves import commit_steps, rolled_up
from controlplane.usecases.tickets import get_ticket

DELETABLE: Final = TERMINAL | {TicketState.PENDING}
NAMED: Final = 5


def delete_ticket(tx: Tx, call: Call, ident: str) -> None:
    """FailedPrecondition says what has to happen first."""
    ticket = get_ticket(tx, call, ident)
    for refusal in refusals(tx, [ticket]).values():
        raise refusal
    delete_all(tx, call, [ticket])


def refusals(reader: Reader, tickets: Sequence[Ticket]) -> Mapping[str, FailedPrecondition]:
    """By id why a ticket cannot go although the others do; one that stays may keep others that it needs."""
    found: dict[str, FailedPrecondition] = {}
    going = {ticket.id: ticket for ticket in tickets}
    while refused := {
        ident: why for ident, ticket in going.items() if (why := _refusal(reader, ticket, going.keys())) is not None
    }:
        found |= refused
        going = {ident: ticket for ident, ticket in going.items() if ident not in refused}
    return found


def delete_all(tx: Tx, call: Call, tickets: Sequence[Ticket]) -> None:
    """Delete what `refusals` lets go; epics that lost a child follow those that they have left."""
    if not tickets:
        return
    tx.remove_tickets(tickets)
    tx.add_events([_deleted(ticket, call) for ticket in tickets], call.now)
    tx.add_effects([_branches(ticket) for ticket in tickets if ticket.fence and ticket.spec.project_id], call.now)
    parents = {ticket.spec.parent_id for ticket in tickets} - {"", *(ticket.id for ticket in tickets)}
    commit_steps(tx, rolled_up(tx, sorted(parents), call.now), call.now)


def _refusal(reader: Reader, ticket: Ticket, going: Collection[str]) -> FailedPrecondition | None:
    if left := [child.key for child in reader.children(ticket.id) if child.id not in going]:
        return _refused(ticket, "has_children", f"has {_names(left)} below it; delete them first, or all at once")
    if ticket.spec.type is not TicketType.EPIC and ticket.state not in DELETABLE:
        return _refused(ticket, "ticket_active", f"is {ticket.state}; cancel it first")
    if left := [one.key for one in reader.dependents([ticket.id]) if one.id not in going]:
        return _refused(ticket, "has_dependents", f"is needed by {_names(left)}; delete them first, or all at once")
    pull_request = reader.pull_request_of(ticket.id)
    if pull_request and pull_request.state is PullRequestState.OPEN:
        return _refused(ticket, "pull_request_open", f"has pull request #{pull_request.number} open; merge or close it")
    return None


def _refused(ticket: Ticket, reason: str, why: str) -> FailedPrecondition:
    return FailedPrecondition(f"{ticket.key} {why}", reason=reason)


def _names(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return f"{', '.join(keys[:NAMED])}{more}"


def _deleted(ticket: Ticket, call: Call) -> NewEvent:
    data = {
        "ticket_id": ticket.id,
        "tenant_id": ticket.tenant_id,
        "key": ticket.key,
        "title": ticket.spec.title,
        "by": call.principal.name,
    }
    return NewEvent(TICKETS_TOPIC, "ticket.deleted", data)


def _branches(ticket: Ticket) -> Effect:
    """Names all that the row would have told."""
    payload = {
        "tenant_id": ticket.tenant_id,
        "ticket_id": ticket.id,
        "deleted": {"key": ticket.key, "head": ticket.head, "project_id": ticket.spec.project_id},
    }
    return Effect(f"{ticket.id}:deleted:branches", REMOVE_BRANCHES, payload)
