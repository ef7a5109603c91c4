"""Tickets: file work, follow it, answer it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from swarm.ticket.v1 import claim_pb2 as pb_claim
from swarm.ticket.v1 import service_pb2 as pb
from swarm.ticket.v1.bulk_pb2 import BulkAction, BulkResult, BulkUpdateTicketsRequest
from swarm.ticket.v1.claim_pb2 import Claim, ClaimEvent, ClaimOutcome
from swarm.ticket.v1.diff_pb2 import GetTicketDiffRequest, GetTicketDiffResponse
from swarm.ticket.v1.service_pb2_grpc import TicketServiceStub
from swarm.ticket.v1.ticket_pb2 import Attempt, Event, Ticket, TicketSpec, TicketState
from swarm_sdk.errors import DeadlineExceededError, SwarmError
from swarm_sdk.paging import Paged
from swarm_sdk.structs import struct_of
from swarm_sdk.transport import Transport

COMPLETE_TIMEOUT_S = 900.0

# Nothing more happens to a ticket in one of these until a person acts.
SETTLED = frozenset(
    {
        TicketState.TICKET_STATE_IN_REVIEW,
        TicketState.TICKET_STATE_COMPLETED,
        TicketState.TICKET_STATE_FAILED,
        TicketState.TICKET_STATE_CANCELLED,
    }
)
FINISHED = SETTLED - {TicketState.TICKET_STATE_IN_REVIEW}


def is_settled(ticket: Ticket) -> bool:
    """Whether nothing more happens to it without a person; in review it still gets its pull request."""
    opening = ticket.state == TicketState.TICKET_STATE_IN_REVIEW and not ticket.pull_request_id
    return ticket.state in SETTLED and not opening


class Tickets:
    """Everywhere `ident` is an id (`tk_...`) or a key (`TKT-001`)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = TicketServiceStub(transport.channel)

    async def create(self, spec: TicketSpec, *, hold: bool = False, key: str = "") -> Ticket:
        """Files one ticket; `hold` keeps it pending until `release`."""
        request = pb.CreateTicketRequest(spec=spec, hold=hold)
        return (await self._transport.change(self._stub.CreateTicket, request, key=key)).ticket

    async def create_all(self, specs: Iterable[TicketSpec], *, hold: bool = False, key: str = "") -> Sequence[Ticket]:
        """Files all or none; tickets may depend on each other by `ref`."""
        request = pb.CreateTicketsRequest(specs=specs, hold=hold)
        return (await self._transport.change(self._stub.CreateTickets, request, key=key)).tickets

    async def import_spec(
        self,
        card: Mapping[str, Any],
        *,
        project_id: str = "",
        repository: str = "",
        agent: str = "",
        hold: bool = False,
        validate_only: bool = False,
        key: str = "",
    ) -> pb.ImportSpecResponse:
        """An epic and one ticket per feature of a spec card; faults are JSON pointers into the card."""
        request = pb.ImportSpecRequest(
            card=struct_of(card, "the card"),
            project_id=project_id,
            repository=repository,
            agent=agent,
            hold=hold,
            validate_only=validate_only,
        )
        return await self._transport.change(self._stub.ImportSpec, request, key=key)

    def list(
        self,
        *,
        states: Iterable[TicketState.ValueType] = (),
        project_id: str = "",
        parent_id: str = "",
        tag: str = "",
        dead_letter: bool = False,
        assignee: str = "",
        query: str = "",
        order_by: str = "",
        limit: int = 0,
    ) -> Paged[Ticket]:
        """Tickets that match all filters; `limit` 0 means all.

        `query` is a part of the key, the title or the description. `order_by` is "key" (the default), "priority",
        "created_at" or "updated_at", with " desc" behind it for the reverse.
        """
        chosen = tuple(states)

        async def page(token: str, size: int) -> tuple[Sequence[Ticket], str]:
            answer = await self._transport.read(
                self._stub.ListTickets,
                pb.ListTicketsRequest(
                    page_size=size,
                    page_token=token,
                    states=chosen,
                    project_id=project_id,
                    parent_id=parent_id,
                    tag=tag,
                    dead_letter=dead_letter,
                    assignee=assignee,
                    query=query,
                    order_by=order_by,
                ),
            )
            return answer.tickets, answer.next_page_token

        return Paged(page, limit)

    async def get(self, ident: str) -> Ticket:
        return (await self._transport.read(self._stub.GetTicket, pb.GetTicketRequest(id=ident))).ticket

    async def update(self, ident: str, spec: TicketSpec, fields: Iterable[str], *, key: str = "") -> Ticket:
        """Changes the named fields (`title`, `description`, `acceptance_criteria`, `priority`, `tags`, `assignee`)."""
        request = pb.UpdateTicketRequest(id=ident, spec=spec, update_mask=FieldMask(paths=fields))
        return (await self._transport.change(self._stub.UpdateTicket, request, key=key)).ticket

    async def delete(self, ident: str, *, key: str = "") -> None:
        """Deletes a ticket that is held or over; `FailedPreconditionError` says what stands against it."""
        await self._transport.change(self._stub.DeleteTicket, pb.DeleteTicketRequest(id=ident), key=key)

    async def bulk(
        self,
        idents: Iterable[str],
        action: BulkAction.ValueType,
        *,
        assignee: str = "",
        add_tags: Iterable[str] = (),
        remove_tags: Iterable[str] = (),
        priority: int = 0,
        reason: str = "",
        all_or_nothing: bool = False,
        key: str = "",
    ) -> Sequence[BulkResult]:
        """Does one thing to up to 500 tickets in one commit; a result with a `code` says why one was left as it was."""
        request = BulkUpdateTicketsRequest(
            ids=idents,
            action=action,
            assignee=assignee,
            add_tags=add_tags,
            remove_tags=remove_tags,
            priority=priority,
            reason=reason,
            all_or_nothing=all_or_nothing,
        )
        return (await self._transport.change(self._stub.BulkUpdateTickets, request, key=key)).results

    async def diff(self, ident: str) -> GetTicketDiffResponse:
        """What the ticket changes; without `head` there is nothing yet."""
        return await self._transport.read(self._stub.GetTicketDiff, GetTicketDiffRequest(id=ident))

    async def release(self, ident: str, *, key: str = "") -> Ticket:
        """Lets a held ticket go."""
        request = pb.ReleaseTicketRequest(id=ident)
        return (await self._transport.change(self._stub.ReleaseTicket, request, key=key)).ticket

    async def retry(self, ident: str, *, key: str = "") -> Ticket:
        """Gives a failed or cancelled ticket a new set of attempts."""
        request = pb.RetryTicketRequest(id=ident)
        return (await self._transport.change(self._stub.RetryTicket, request, key=key)).ticket

    async def requeue(self, idents: Iterable[str]) -> AsyncGenerator[Ticket, None]:
        """`retry`, one after the other, so that what went wrong with one names it; those before it are on their way."""
        for ident in idents:
            yield await self.retry(ident)

    async def cancel(self, ident: str, reason: str = "", *, key: str = "") -> Ticket:
        request = pb.CancelTicketRequest(id=ident, reason=reason)
        return (await self._transport.change(self._stub.CancelTicket, request, key=key)).ticket

    async def answer(self, ident: str, answer: str, *, key: str = "") -> Ticket:
        """Answers the question of a waiting ticket (`ticket.question`)."""
        request = pb.AnswerQuestionRequest(id=ident, answer=answer)
        return (await self._transport.change(self._stub.AnswerQuestion, request, key=key)).ticket

    async def claim(
        self,
        agents: Iterable[str] = (),
        *,
        project_id: str = "",
        tags: Iterable[str] = (),
        lease_s: float = 0.0,
        wait_s: float = 0.0,
        worker: str = "",
        key: str = "",
    ) -> Claim | None:
        """Takes the first ready ticket of these external agents (of any, when none is named); None when there is none.

        Heartbeats have to come more often than every `lease_s` seconds (15 s to 1 h, default 60 s). Waits at most
        `wait_s`, up to 60 s. See `swarm_sdk.external.ExternalWorker`.
        """
        request = pb_claim.ClaimTicketRequest(
            agents=agents,
            project_id=project_id,
            tags=tags,
            lease=_duration(lease_s),
            wait=_duration(wait_s),
            worker=worker,
        )
        timeout_s = self._transport.timeout_s + wait_s
        answer = await self._transport.change(self._stub.ClaimTicket, request, key=key, timeout_s=timeout_s)
        return answer.claim if answer.HasField("claim") else None

    async def heartbeat(
        self, ident: str, fence: int, events: Iterable[ClaimEvent] = (), *, answer_cursor: int = 0, key: str = ""
    ) -> pb_claim.HeartbeatTicketResponse:
        """Keeps a claim and says what its agent does. `FailedPreconditionError`: stop, it is no longer yours."""
        request = pb_claim.HeartbeatTicketRequest(id=ident, fence=fence, events=events, answer_cursor=answer_cursor)
        if not request.events:
            return await self._transport.read(self._stub.HeartbeatTicket, request)
        return await self._transport.change(self._stub.HeartbeatTicket, request, key=key)

    async def complete(
        self,
        ident: str,
        fence: int,
        *,
        ok: bool = True,
        head: str = "",
        summary: str = "",
        cause: str = "",
        key: str = "",
    ) -> pb_claim.CompleteTicketResponse:
        """Ends a claim; `head` is the commit that was pushed. The scan may take minutes.

        `FailedPreconditionError` with reason `scan_refused` names in its violations what must go; the claim stays.
        """
        outcome = ClaimOutcome.CLAIM_OUTCOME_SUCCEEDED if ok else ClaimOutcome.CLAIM_OUTCOME_FAILED
        request = pb_claim.CompleteTicketRequest(
            id=ident, fence=fence, outcome=outcome, head=head, summary=summary, cause=cause
        )
        return await self._transport.change(
            self._stub.CompleteTicket, request, key=key, timeout_s=max(self._transport.timeout_s, COMPLETE_TIMEOUT_S)
        )

    async def attempts(self, ident: str) -> Sequence[Attempt]:
        """Every placement of the ticket so far, oldest first."""
        return (await self._transport.read(self._stub.ListAttempts, pb.ListAttemptsRequest(id=ident))).attempts

    async def events(
        self, ident: str, *, cursor: int = 0, limit: int = 0, types: Iterable[str] = (), tail: int = 0
    ) -> Sequence[Event]:
        """Events after `cursor`, oldest first; with `tail` the newest so many instead. Logs have type `agent.log`."""
        request = pb.ListEventsRequest(id=ident, cursor=cursor, page_size=limit, types=types, tail=tail)
        return (await self._transport.read(self._stub.ListEvents, request)).events

    async def watch(self, ident: str, *, cursor: int = 0) -> AsyncGenerator[pb.WatchTicketResponse, None]:
        """Events from `cursor` on, then live, each batch with the ticket as it is after it.

        Survives a restart of the control plane without a gap or a repetition. Endless: break, or cancel.
        """
        seen = cursor

        def request() -> pb.WatchTicketRequest:
            return pb.WatchTicketRequest(id=ident, cursor=seen)

        async with contextlib.aclosing(self._transport.resume(self._stub.WatchTicket, request)) as answers:
            async for answer in answers:
                if answer.events:
                    seen = answer.events[-1].seq
                yield answer

    async def watch_tenant(self, *, cursor: int | None = None) -> AsyncGenerator[pb.WatchTicketsResponse, None]:
        """What happens to all tickets of the tenant, behind `cursor` or from now on. Endless: break, or cancel.

        Survives a restart of the control plane without a gap or a repetition.
        """
        seen = cursor

        def request() -> pb.WatchTicketsRequest:
            return pb.WatchTicketsRequest(cursor=seen)

        async with contextlib.aclosing(self._transport.resume(self._stub.WatchTickets, request)) as answers:
            async for answer in answers:
                seen = answer.cursor
                yield answer

    async def wait(
        self,
        ident: str,
        *,
        until: Collection[TicketState.ValueType] = (),
        timeout_s: float | None = None,
    ) -> Ticket:
        """The ticket once its state is one of `until`, by default once it has settled.

        `DeadlineExceededError` when that takes too long.
        """
        try:
            async with asyncio.timeout(timeout_s):
                newest = await self.events(ident, tail=1)
                cursor = newest[-1].seq if newest else 0
                async with contextlib.aclosing(self.watch(ident, cursor=cursor)) as answers:
                    async for answer in answers:
                        if answer.ticket.state in until if until else is_settled(answer.ticket):
                            return answer.ticket
        except TimeoutError:
            raise DeadlineExceededError(f"{ident} did not settle within {timeout_s} s", reason="wait") from None
        raise AssertionError("a watch never ends by itself")

    async def watch_all(self, idents: Iterable[str]) -> AsyncGenerator[pb.WatchTicketResponse, None]:
        """The watches of several tickets as one; the order between tickets is that of arrival."""
        arrived: asyncio.Queue[pb.WatchTicketResponse | SwarmError] = asyncio.Queue(maxsize=256)

        async def forward(ident: str) -> None:
            try:
                async for answer in self.watch(ident):
                    await arrived.put(answer)
            except SwarmError as error:
                await arrived.put(error)

        watchers = [asyncio.create_task(forward(ident)) for ident in idents]
        try:
            while watchers:
                item = await arrived.get()
                if isinstance(item, SwarmError):
                    raise item
                yield item
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)


def _duration(seconds: float) -> Duration | None:
    """Unset for nothing."""
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration if seconds else None
