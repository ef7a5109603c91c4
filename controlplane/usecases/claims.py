"""Leases of external agents: taken, prolonged and ended in the store, by the same moves as those of hosts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from controlplane.domain.call import Call
from controlplane.domain.claim import HOLDER, MOST_EVENT_BYTES, Claim, blamed
from controlplane.domain.epoch import SETTING as EPOCH
from controlplane.domain.ids import new_id
from controlplane.domain.lease import TIMES, LeaseTimes, holds
from controlplane.domain.ticket import LEASED, Attempt, AttemptState, BootTiming, Ticket, TicketState
from controlplane.domain.transitions import Action, advance
from controlplane.errors import Conflict, FailedPrecondition, NotFound, StaleFence, Unauthenticated
from controlplane.ports import Assignment, Base, Reader, Tx, Work
from controlplane.scheduler.applier import new_attempt, waits
from controlplane.scheduler.offers import full
from controlplane.scheduler.settings import read_limits
from controlplane.usecases import agents, placement
from controlplane.usecases.assignments import build, find_work, rebuild
from controlplane.usecases.moves import commit_steps

AUDIT: Final = "ticket.claim"
ANSWERS: Final = ("ticket.answer",)
MOST_ANSWERS: Final = 100


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a program asks for. Seconds; `key` is its idempotency key, empty for none."""

    agents: tuple[str, ...] = ()
    project_id: str = ""
    tags: tuple[str, ...] = ()
    lease_s: float = 60.0
    wait_s: float = 0.0
    worker: str = ""
    key: str = ""

    @property
    def digest(self) -> str:
        """What tells this request from another under the same key."""
        return hashlib.sha256(repr(replace(self, key="")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Held:
    """A claim that stands. `again`: it was there before under the same key."""

    claim: Claim
    assignment: Assignment
    again: bool = False

    @property
    def ticket(self) -> Ticket:
        return self.assignment.ticket

    @property
    def repository(self) -> str:
        project = self.assignment.project
        return project.spec.repository if project else ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program says that it ended; `head` is what it pushed, empty for nothing."""

    ok: bool
    head: str = ""
    summary: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Pulse:
    """A sign of life: what the agent said since the last, and the last answer that it has seen."""

    fence: int
    events: tuple[placement.AgentEvent, ...] = ()
    cursor: int = 0


@dataclass(frozen=True, slots=True)
class Beat:
    """`answers` holds (seq, text) of those after the caller's cursor."""

    lease_expires_at: float
    answers: tuple[tuple[int, str], ...]
    dropped: int = 0


def lease(tx: Tx, call: Call, request: ClaimRequest, ticket_id: str, now: float) -> Held | None:
    """Leases the ticket to the caller under a new fence; None while there is no room for it.

    Conflict when it is not to be had any more. A request that was served before under its key gets that claim.
    """
    if known := under_key(tx, call, request):
        return known
    ticket = next(iter(tx.tickets_by_id([ticket_id])), None)
    if ticket is None or ticket.tenant_id != call.principal.tenant_id:
        raise _gone(ticket_id)
    project = tx.project(ticket.tenant_id, ticket.spec.project_id) if ticket.spec.project_id else None
    work = find_work(tx, ticket, project)
    if not isinstance(work, Work) or not work.external or not waits(ticket, now):
        raise _gone(ticket.key)
    busy = _running(tx, ticket) if project and project.spec.max_concurrency else 0
    if read_limits(tx) is None or full(project, busy):
        return None
    epoch = tx.setting(EPOCH) or 0
    attempt = new_attempt(ticket, new_id(HOLDER, now), now, epoch)
    expiry = now + request.lease_s
    step = advance(
        ticket, Action.ASSIGN, now, host_id=attempt.host_id, attempt_id=attempt.id, lease_expires_at=expiry, epoch=epoch
    )
    claim = _claim(call, request, attempt)
    tx.add_attempts([attempt])
    tx.add_claim(claim)
    commit_steps(tx, [step], now)
    who, data = call.principal, {"outcome": "ok", "id": ticket.id}
    tx.add_audit(AUDIT, who.name, call.request_id, data, now, tenant_id=who.tenant_id, user_id=who.user_id)
    return Held(claim, build(tx, step.ticket, attempt, project, work))


def begun(reader: Reader, call: Call, request: ClaimRequest) -> Held | None:
    """The claim that this request made before, if it did; else it may name external agents only."""
    again = under_key(reader, call, request)
    if again is None:
        expect_external(reader, call, request.agents)
    return again


def under_key(reader: Reader, call: Call, request: ClaimRequest) -> Held | None:
    """The claim that this request made before, if it did; Conflict for another request under its key."""
    claim = reader.claim_by_key(call.principal.name, request.key) if request.key else None
    if claim is None:
        return None
    if claim.request_hash != request.digest:
        raise Conflict("this idempotency key came with another request before", reason="idempotency_key_reused")
    ticket = next(iter(reader.tickets_by_id([claim.ticket_id])), None)
    attempt = reader.attempt(claim.attempt_id)
    if ticket is None or attempt is None or not holds(ticket, claim.host_id, claim.lease(attempt.fence)):
        raise FailedPrecondition("the claim that was made under this key is over", reason="claim_over")
    return replace(_held(reader, claim, ticket), again=True)


def expect_external(reader: Reader, call: Call, names: Sequence[str]) -> None:
    """NotFound, or FailedPrecondition, for agents whose tickets nobody will ever claim."""
    for name in names:
        if not agents.get_agent(reader, call, name).external:
            words = f"{name} runs on hosts: only tickets of external agents are claimed"
            raise FailedPrecondition(words, reason="not_external")


def find(reader: Reader, call: Call, ident: str, fence: int) -> Held:
    """The caller's claim on a ticket. StaleFence when it is over, or never was the caller's."""
    ticket = reader.ticket(call.principal.tenant_id, ident)
    if ticket is None:
        raise NotFound(f"there is no ticket {ident}")
    claim = reader.claim(ticket.attempt_id)
    ours = claim is not None and claim.principal == call.principal.name and ticket.fence == fence
    if ours and ticket.state is TicketState.CANCELLED:
        raise FailedPrecondition(f"{ticket.key} was cancelled: {ticket.state_reason}", reason="ticket_cancelled")
    if claim is None or not ours or not holds(ticket, claim.host_id, claim.lease(fence)):
        raise StaleFence(f"{ticket.key} is not leased to you under fence {fence}: the lease is over")
    return _held(reader, claim, ticket)


def admitted(reader: Reader, attempt_id: str, now: float) -> Held:
    """The claim whose git URL was called. Unauthenticated once its lease is over."""
    claim, attempt = reader.claim(attempt_id), reader.attempt(attempt_id)
    ticket = next(iter(reader.tickets_by_id([attempt.ticket_id])), None) if attempt else None
    ours = claim and attempt and holds(ticket, claim.host_id, claim.lease(attempt.fence))
    if not claim or not ticket or not ours or (ticket.lease_expires_at or 0.0) <= now:
        raise Unauthenticated("the claim is over")
    return _held(reader, claim, ticket)


def done_before(reader: Reader, call: Call, ident: str, fence: int, ending: Ending) -> Ticket | None:
    """The ticket when this very end was recorded before, and only its answer got lost."""
    ticket = reader.ticket(call.principal.tenant_id, ident)
    attempt = reader.attempt(ticket.attempt_id) if ticket else None
    claim = reader.claim(ticket.attempt_id) if ticket else None
    if ticket is None or attempt is None or claim is None or claim.principal != call.principal.name:
        return None
    return ticket if attempt.fence == fence and _ended_so(attempt, ending) else None


def _ended_so(attempt: Attempt, ending: Ending) -> bool:
    if ending.ok:
        return attempt.state is AttemptState.SUCCEEDED and ending.head in {attempt.head, ""}
    said = blamed(ending.cause), ending.summary[: placement.MAX_REASON]
    return attempt.state in {AttemptState.FAILED, AttemptState.LOST} and (attempt.cause, attempt.reason) == said


def begin(tx: Tx, held: Held, base: Base | None, now: float) -> Held:
    """All is prepared: the program may start. Its lease counts from now."""
    ref = held.claim.lease(held.ticket.fence)
    placement.running(tx, held.claim.host_id, ref, now, BootTiming())
    prolong(tx, held.claim, held.ticket.fence, now)
    attempt = tx.attempt(held.claim.attempt_id)
    if base and attempt:
        tx.save_attempts([replace(attempt, base=base.commit)])
    return _held(tx, held.claim, tx.tickets_by_id([held.ticket.id])[0])


def prolong(tx: Tx, claim: Claim, fence: int, now: float) -> None:
    """Renews the lease. StaleFence when it is over."""
    renewed = placement.renew(tx, claim.host_id, [claim.lease(fence)], now, LeaseTimes(claim.lease_s))
    if not renewed.renewed:
        raise StaleFence("the lease is over")


def heartbeat(tx: Tx, call: Call, ident: str, pulse: Pulse) -> Beat:
    """Renews, stores what the agent said, up to a limit per attempt, and answers its questions."""
    now, fence, events = call.now, pulse.fence, pulse.events
    held = find(tx, call, ident, fence)
    claim = held.claim
    total = claim.event_bytes + sum(map(_size, events))
    kept = events if total <= MOST_EVENT_BYTES else ()
    if kept:
        tx.count_event_bytes(claim.attempt_id, total)
        placement.agent_events(tx, claim.host_id, claim.lease(fence), now, kept)
    prolong(tx, claim, fence, now)
    ticket = tx.tickets_by_id([held.ticket.id])[0]
    said = tx.events(f"ticket:{ticket.id}", pulse.cursor, MOST_ANSWERS, ANSWERS)
    since = held.assignment.attempt.assigned_at
    answers = tuple((event.seq, str(event.data["answer"])) for event in said if event.time >= since)
    return Beat(ticket.lease_expires_at or now, answers, len(events) - len(kept))


def finish(
    tx: Tx, held: Held, ending: Ending, findings: Sequence[str], now: float, *, times: LeaseTimes = TIMES
) -> Ticket:
    """Records the end as a host's result is recorded. StaleFence when the lease was lost meanwhile."""
    base = held.assignment.attempt.base
    result = placement.AttemptResult(
        ok=ending.ok,
        head=(ending.head or base) if ending.ok else "",
        base=base if ending.ok else "",
        cause="" if ending.ok else blamed(ending.cause),
        reason=ending.summary,
        findings=tuple(findings),
    )
    placement.finished(tx, held.claim.host_id, held.claim.lease(held.ticket.fence), now, result, times=times)
    return tx.tickets_by_id([held.ticket.id])[0]


def live_attempts(reader: Reader) -> frozenset[str]:
    """Attempts that are leased, whoever holds them."""
    return frozenset(ticket.attempt_id for ticket in reader.leased_tickets())


def _gone(name: str) -> Conflict:
    return Conflict(f"{name} changed meanwhile", reason="concurrent_change")


def _running(reader: Reader, ticket: Ticket) -> int:
    mine = (ticket.tenant_id, ticket.spec.project_id)
    return sum((one.tenant_id, one.spec.project_id) == mine for one in reader.leased_tickets() if one.state in LEASED)


def _claim(call: Call, request: ClaimRequest, attempt: Attempt) -> Claim:
    return Claim(
        attempt_id=attempt.id,
        ticket_id=attempt.ticket_id,
        host_id=attempt.host_id,
        worker=request.worker,
        principal=call.principal.name,
        lease_s=request.lease_s,
        created_at=attempt.assigned_at,
        request_key=request.key,
        request_hash=request.digest,
    )


def _held(reader: Reader, claim: Claim, ticket: Ticket) -> Held:
    assignment = rebuild(reader, ticket)
    if assignment is None:
        raise FailedPrecondition(f"the agent of {ticket.key} is gone", reason="no_agent")
    return Held(claim, assignment)


def _size(event: placement.AgentEvent) -> int:
    return len(event.text.encode(errors="replace")) + (len(json.dumps(event.data)) if event.data else 0)
