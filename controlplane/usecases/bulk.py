"""Changing many tickets in one commit, each as if it were asked for alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from controlplane.domain.bulk import BulkAction, Wish
from controlplane.domain.call import Call
from controlplane.domain.ticket import Ticket, TicketSpec
from controlplane.errors import FailedPrecondition, InvalidInput, NotFound, SwarmError, Violation
from controlplane.ports import Tx
from controlplane.usecases.deletion import delete_all, refusals
from controlplane.usecases.tickets import cancel_ticket, get_ticket, release_ticket, retry_ticket, update_ticket

MOST_TAGS: Final = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one ticket: how it is now, None once it is deleted; or what stood against it."""

    ident: str
    ticket: Ticket | None = None
    error: SwarmError | None = None


def bulk_update(tx: Tx, call: Call, idents: Sequence[str], wish: Wish, *, all_or_nothing: bool) -> list[Outcome]:
    """In the order of `idents`. FailedPrecondition, with all that stood against it, where it is all or nothing."""
    _check(wish)
    done = _delete(tx, call, idents) if wish.action is BulkAction.DELETE else [_try(tx, call, i, wish) for i in idents]
    refused = tuple(
        Violation(f"/ids/{index}", one.error.message) for index, one in enumerate(done) if one.error is not None
    )
    if all_or_nothing and refused:
        raise FailedPrecondition(
            f"{len(refused)} of {len(done)} tickets cannot be changed, so none was: {refused[0].description}",
            reason="bulk_refused",
            violations=refused,
        )
    return done


def _check(wish: Wish) -> None:
    if wish.action is BulkAction.TAG and not (wish.add_tags or wish.remove_tags):
        what = "names no tag to add or to remove"
        raise InvalidInput(what, violations=(Violation("/add_tags", what),))


def _try(tx: Tx, call: Call, ident: str, wish: Wish) -> Outcome:
    """What a use case refuses it refuses before its first write, so that nothing has to be taken back."""
    try:
        return Outcome(ident, _act(tx, call, get_ticket(tx, call, ident), wish))
    except (NotFound, FailedPrecondition, InvalidInput) as error:
        return Outcome(ident, error=error)


def _act(tx: Tx, call: Call, ticket: Ticket, wish: Wish) -> Ticket:
    match wish.action:
        case BulkAction.RELEASE:
            return release_ticket(tx, call, ticket.id)
        case BulkAction.RETRY:
            return retry_ticket(tx, call, ticket.id)
        case BulkAction.CANCEL:
            return cancel_ticket(tx, call, ticket.id, wish.reason)
        case BulkAction.ASSIGN:
            return update_ticket(tx, call, ticket.id, replace(ticket.spec, assignee=wish.assignee), ["assignee"])
        case BulkAction.PRIORITIZE:
            return update_ticket(tx, call, ticket.id, replace(ticket.spec, priority=wish.priority), ["priority"])
        case _:
            return update_ticket(tx, call, ticket.id, replace(ticket.spec, tags=_tags(ticket.spec, wish)), ["tags"])


def _tags(spec: TicketSpec, wish: Wish) -> tuple[str, ...]:
    kept = (tag for tag in spec.tags if tag not in wish.remove_tags)
    tags = tuple(dict.fromkeys([*kept, *wish.add_tags]))
    if len(tags) > MOST_TAGS:
        raise InvalidInput(f"it would have {len(tags)} tags; {MOST_TAGS} are allowed", reason="too_many_tags")
    return tags


def _delete(tx: Tx, call: Call, idents: Sequence[str]) -> list[Outcome]:
    """Together, so that a ticket may go with what depends on it."""
    found = {ident: ticket for ident in idents if (ticket := tx.ticket(call.principal.tenant_id, ident))}
    refused = refusals(tx, list(found.values()))
    delete_all(tx, call, list({one.id: one for one in found.values() if one.id not in refused}.values()))
    return [
        Outcome(ident, error=refused.get(found[ident].id))
        if ident in found
        else Outcome(ident, error=NotFound(f"there is no ticket {ident}"))
        for ident in idents
    ]
