"""The part of TicketService that deletes tickets, and that changes many at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controlplane.api.bindings import Bindings, Command
from controlplane.api.convert.ticket import ticket_out
from controlplane.domain.bulk import BulkAction, Wish
from controlplane.domain.call import Call
from controlplane.ports import Tx
from controlplane.usecases import bulk, deletion, tickets
from swarm.ticket.v1 import bulk_pb2
from swarm.ticket.v1 import service_pb2 as pb

SERVICE = "swarm.ticket.v1.TicketService"
ACTIONS: Final[Mapping[int, BulkAction]] = {
    bulk_pb2.BulkAction.Value(f"BULK_ACTION_{action.name}"): action for action in BulkAction
}


def bindings() -> Bindings:
    return {
        f"{SERVICE}.DeleteTicket": Command(delete),
        f"{SERVICE}.BulkUpdateTickets": Command(bulk_update),
    }


def delete(tx: Tx, call: Call, request: pb.DeleteTicketRequest) -> pb.DeleteTicketResponse:
    deletion.delete_ticket(tx, call, request.id)
    return pb.DeleteTicketResponse()


def bulk_update(tx: Tx, call: Call, request: bulk_pb2.BulkUpdateTicketsRequest) -> bulk_pb2.BulkUpdateTicketsResponse:
    done = bulk.bulk_update(tx, call, request.ids, wish_in(request), all_or_nothing=request.all_or_nothing)
    current = tickets.current_attempts(tx, [one.ticket for one in done if one.ticket])
    return bulk_pb2.BulkUpdateTicketsResponse(
        results=[
            bulk_pb2.BulkResult(
                id=one.ident,
                ticket=ticket_out(one.ticket, current) if one.ticket else None,
                code=one.error.code if one.error else "",
                reason=one.error.reason if one.error else "",
                message=one.error.message if one.error else "",
            )
            for one in done
        ],
        changed=sum(one.error is None for one in done),
    )


def wish_in(request: bulk_pb2.BulkUpdateTicketsRequest) -> Wish:
    return Wish(
        action=ACTIONS[request.action],
        assignee=request.assignee,
        add_tags=tuple(request.add_tags),
        remove_tags=tuple(request.remove_tags),
        priority=request.priority,
        reason=request.reason,
    )
