"""TicketService."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import TypedDict

from controlplane.api.bindings import Bindings, Command, Query, Stream
from controlplane.api.convert.common import json_in, page_in
from controlplane.api.convert.mask import masked_fields
from controlplane.api.convert.ticket import attempt_out, event_out, spec_in, state_in, ticket_out
from controlplane.domain.call import Call
from controlplane.domain.ticket import Ticket
from controlplane.ports import Reader, TicketFilter, TicketOrder, Tx
from controlplane.usecases import specs, tickets
from controlplane.usecases.repositories import expect_repository
from controlplane.usecases.services import Services
from swarm.ticket.v1 import service_pb2 as pb
from swarm.ticket.v1 import ticket_pb2

SERVICE = "swarm.ticket.v1.TicketService"


class OrderBy(TypedDict):
    order: TicketOrder
    descending: bool


def bindings(*, allow_file: bool) -> Bindings:
    """`allow_file`: whether a card may name a repository on this machine."""

    def import_spec(tx: Tx, call: Call, request: pb.ImportSpecRequest) -> pb.ImportSpecResponse:
        imported = specs.import_spec(
            tx,
            call,
            json_in(request.card, ""),
            project_id=request.project_id,
            repository=request.repository,
            agent=request.agent,
            hold=request.hold,
            validate_only=request.validate_only,
            allow_file=allow_file,
        )
        found = messages(tx, [imported.epic, *imported.tickets])
        return pb.ImportSpecResponse(epic=found[0], tickets=found[1:], project_id=imported.project_id)

    async def readable(services: Services, call: Call, request: pb.ImportSpecRequest) -> None:
        named = request.repository or json_in(request.card, "").get("repository")
        if allow_file and not request.project_id:
            await expect_repository(services, call, named, "/repository")

    return {
        f"{SERVICE}.CreateTicket": Command(create),
        f"{SERVICE}.CreateTickets": Command(create_all),
        f"{SERVICE}.ImportSpec": Command(import_spec, readable),
        f"{SERVICE}.ListTickets": Query(list_tickets),
        f"{SERVICE}.GetTicket": Query(get),
        f"{SERVICE}.UpdateTicket": Command(update),
        f"{SERVICE}.ReleaseTicket": Command(release),
        f"{SERVICE}.RetryTicket": Command(retry),
        f"{SERVICE}.CancelTicket": Command(cancel),
        f"{SERVICE}.AnswerQuestion": Command(answer),
        f"{SERVICE}.ListAttempts": Query(attempts),
        f"{SERVICE}.ListEvents": Query(events),
        f"{SERVICE}.WatchTicket": Stream(watch),
    }


def messages(reader: Reader, found: Sequence[Ticket]) -> list[ticket_pb2.Ticket]:
    current = tickets.current_attempts(reader, found)
    return [ticket_out(ticket, current) for ticket in found]


def message(reader: Reader, ticket: Ticket) -> ticket_pb2.Ticket:
    return messages(reader, [ticket])[0]


def create(tx: Tx, call: Call, request: pb.CreateTicketRequest) -> pb.CreateTicketResponse:
    ticket = tickets.create_ticket(tx, call, spec_in(request.spec), hold=request.hold)
    return pb.CreateTicketResponse(ticket=message(tx, ticket))


def create_all(tx: Tx, call: Call, request: pb.CreateTicketsRequest) -> pb.CreateTicketsResponse:
    wanted = [spec_in(spec, f"/specs/{index}") for index, spec in enumerate(request.specs)]
    return pb.CreateTicketsResponse(tickets=messages(tx, tickets.create_tickets(tx, call, wanted, hold=request.hold)))


def list_tickets(reader: Reader, call: Call, request: pb.ListTicketsRequest) -> pb.ListTicketsResponse:
    where = TicketFilter(
        states=tuple(state_in(state) for state in request.states if state),
        project_id=request.project_id,
        parent_id=request.parent_id,
        tag=request.tag,
        dead_letter=request.dead_letter,
        assignee=request.assignee,
        query=request.query,
        **order_in(request.order_by),
    )
    found, token = tickets.list_tickets(reader, call, where, page_in(request))
    return pb.ListTicketsResponse(tickets=messages(reader, found), next_page_token=token)


def order_in(text: str) -> OrderBy:
    """Of a text like "priority desc"; the rules of the message let nothing else through."""
    name, _, direction = text.partition(" ")
    return {"order": TicketOrder(name or "key"), "descending": direction == "desc"}


def get(reader: Reader, call: Call, request: pb.GetTicketRequest) -> pb.GetTicketResponse:
    return pb.GetTicketResponse(ticket=message(reader, tickets.get_ticket(reader, call, request.id)))


def update(tx: Tx, call: Call, request: pb.UpdateTicketRequest) -> pb.UpdateTicketResponse:
    fields = masked_fields(request.update_mask, request.spec)
    ticket = tickets.update_ticket(tx, call, request.id, spec_in(request.spec), fields)
    return pb.UpdateTicketResponse(ticket=message(tx, ticket))


def release(tx: Tx, call: Call, request: pb.ReleaseTicketRequest) -> pb.ReleaseTicketResponse:
    return pb.ReleaseTicketResponse(ticket=message(tx, tickets.release_ticket(tx, call, request.id)))


def retry(tx: Tx, call: Call, request: pb.RetryTicketRequest) -> pb.RetryTicketResponse:
    return pb.RetryTicketResponse(ticket=message(tx, tickets.retry_ticket(tx, call, request.id)))


def cancel(tx: Tx, call: Call, request: pb.CancelTicketRequest) -> pb.CancelTicketResponse:
    ticket = tickets.cancel_ticket(tx, call, request.id, request.reason)
    return pb.CancelTicketResponse(ticket=message(tx, ticket))


def answer(tx: Tx, call: Call, request: pb.AnswerQuestionRequest) -> pb.AnswerQuestionResponse:
    ticket = tickets.answer_question(tx, call, request.id, request.answer)
    return pb.AnswerQuestionResponse(ticket=message(tx, ticket))


def attempts(reader: Reader, call: Call, request: pb.ListAttemptsRequest) -> pb.ListAttemptsResponse:
    found = tickets.list_attempts(reader, call, request.id)
    return pb.ListAttemptsResponse(attempts=[attempt_out(attempt, delay_s) for attempt, delay_s in found])


def events(reader: Reader, call: Call, request: pb.ListEventsRequest) -> pb.ListEventsResponse:
    found, cursor = tickets.list_events(
        reader,
        call,
        request.id,
        cursor=request.cursor,
        limit=request.page_size,
        types=request.types,
        tail=request.tail,
    )
    return pb.ListEventsResponse(events=[event_out(event) for event in found], next_cursor=cursor)


async def watch(
    services: Services, call: Call, request: pb.WatchTicketRequest
) -> AsyncGenerator[pb.WatchTicketResponse, None]:
    changes = tickets.watch_ticket(services.store, services.bus, call, request.id, request.cursor)
    async for found, ticket in changes:
        current = await services.store.read(partial(message, ticket=ticket))
        yield pb.WatchTicketResponse(events=[event_out(event) for event in found], ticket=current)
