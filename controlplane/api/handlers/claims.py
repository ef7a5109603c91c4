"""The part of TicketService that external agents call."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.duration_pb2 import Duration

from controlplane.api.bindings import Action, Bindings
from controlplane.api.convert.common import json_in, timestamp
from controlplane.api.convert.ticket import ticket_out
from controlplane.domain.call import Call
from controlplane.domain.claim import lease_of
from controlplane.domain.lease import LeaseTimes
from controlplane.domain.refs import attempt_ref
from controlplane.usecases.claiming import Claimed, Claims
from controlplane.usecases.claims import ClaimRequest, Ending, Pulse
from controlplane.usecases.placement import AgentEvent
from controlplane.usecases.services import Services
from swarm.ticket.v1 import claim_pb2 as pb

SERVICE = "swarm.ticket.v1.TicketService"


def bindings(claims: Claims, times: LeaseTimes, git_url: Callable[[str], str]) -> Bindings:
    """`git_url` makes the URL of an attempt's repository, with its secret: no answer that is kept has it."""

    async def claim(_: Services, call: Call, request: pb.ClaimTicketRequest) -> pb.ClaimTicketResponse:
        wanted = ClaimRequest(
            agents=tuple(request.agents),
            project_id=request.project_id,
            tags=tuple(request.tags),
            lease_s=lease_of(_seconds(request.lease), times.ttl_s),
            wait_s=_seconds(request.wait),
            worker=request.worker,
            key=call.key,
        )
        claimed = await claims.claim(call, wanted)
        return pb.ClaimTicketResponse(claim=claim_out(claimed, git_url) if claimed else None)

    async def heartbeat(_: Services, call: Call, request: pb.HeartbeatTicketRequest) -> pb.HeartbeatTicketResponse:
        events = tuple(event_in(event, number) for number, event in enumerate(request.events))
        beat = await claims.heartbeat(call, request.id, Pulse(request.fence, events, request.answer_cursor))
        return pb.HeartbeatTicketResponse(
            lease_expires_at=timestamp(beat.lease_expires_at),
            answers=[pb.ClaimAnswer(seq=seq, text=text) for seq, text in beat.answers],
            events_dropped=beat.dropped,
        )

    async def complete(_: Services, call: Call, request: pb.CompleteTicketRequest) -> pb.CompleteTicketResponse:
        ending = Ending(
            ok=request.outcome == pb.ClaimOutcome.CLAIM_OUTCOME_SUCCEEDED,
            head=request.head,
            summary=request.summary,
            cause=request.cause,
        )
        ticket, findings = await claims.complete(call, request.id, request.fence, ending)
        attempt = await claims.store.read(lambda reader: reader.attempt(ticket.attempt_id))
        current = {attempt.id: attempt} if attempt else {}
        return pb.CompleteTicketResponse(ticket=ticket_out(ticket, current), findings=findings)

    return {
        f"{SERVICE}.ClaimTicket": Action(claim, keyed=True),
        f"{SERVICE}.HeartbeatTicket": Action(heartbeat, ongoing=True),
        f"{SERVICE}.CompleteTicket": Action(complete, ongoing=True),
    }


def claim_out(claimed: Claimed, git_url: Callable[[str], str]) -> pb.Claim:
    held, base = claimed.held, claimed.base
    ticket, attempt, project = held.ticket, held.assignment.attempt, held.assignment.project
    message = pb.Claim(
        ticket=ticket_out(ticket, {attempt.id: attempt}),
        attempt_id=attempt.id,
        fence=attempt.fence,
        lease_expires_at=timestamp(ticket.lease_expires_at),
        lease=Duration(nanos=0, seconds=round(held.claim.lease_s)),
        test_command=project.spec.test_command if project else "",
    )
    if base is not None:
        message.git_url = git_url(attempt.id)
        message.push_ref = attempt_ref(ticket.key, attempt.fence)
        message.base = base.commit
        message.default_branch = base.default_branch
        message.conflicts.extend(base.conflicts)
        message.merge_heads.extend(base.merge_heads)
    return message


def event_in(event: pb.ClaimEvent, number: int) -> AgentEvent:
    return AgentEvent(seq=number, type=event.type, text=event.text, data=json_in(event.data, f"/events/{number}/data"))


def _seconds(duration: Duration) -> float:
    return float(duration.seconds + duration.nanos / 1e9)
