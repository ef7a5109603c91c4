"""What hosts report of the tickets leased to them. A host writes only what it holds now, under the current fence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from controlplane.domain.change import replace
from controlplane.domain.event import NewEvent
from controlplane.domain.failure import Failure, cause_of, guest_cause
from controlplane.domain.lease import TIMES, LeaseRef, LeaseTimes, holds
from controlplane.domain.refs import is_object_id
from controlplane.domain.run import RunState
from controlplane.domain.ticket import Attempt, AttemptState, BootTiming, Ticket, TicketState
from controlplane.domain.transitions import Action, Step, advance, allows, answer_key
from controlplane.domain.usage import usage_of
from controlplane.errors import InvalidInput, StaleFence
from controlplane.failpoint import hit
from controlplane.ports import Assignment, Reader, Tx
from controlplane.usecases.assignments import agent_of, rebuild
from controlplane.usecases.moves import commit_steps
from controlplane.usecases.runs import close_runs, open_run, record

MAX_REASON: Final = 2000
MAX_LOG: Final = 8192
MAX_EVENTS: Final = 1_000_000
MAX_EVENT_BYTES: Final = 1 << 30
LARGEST_EVENT: Final = 1 << 20  # as it is stored, and more
# We ended these while a VM ran. What their tickets wait for is its stop, and no delay of a retry.
CUT_OFF: Final = frozenset({"cancelled", "host_stopping"})


@dataclass(frozen=True)
class AttemptResult:
    """How an attempt ended. `cause` is set when the host ended it; else `ok`, and the guest's own words for why not.

    `head` and `base` are full object ids or empty.
    """

    ok: bool
    exit_code: int = 0
    head: str = ""
    base: str = ""
    phase: str = ""
    guest_cause: str = ""
    cause: str = ""
    reason: str = ""
    findings: tuple[str, ...] = ()
    blocked_calls: tuple[str, ...] = ()
    template_digest: str = ""


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """One line of an agent or its runtime; see swarm.guest.v1.GuestEvent for types. `time` is the guest's clock."""

    seq: int
    type: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    time: float = 0.0
    gap: int = 0


@dataclass(frozen=True, slots=True)
class Renewed:
    renewed: tuple[LeaseRef, ...]
    stale: tuple[LeaseRef, ...]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """`redeliver` holds what is leased to the host and never reached it."""

    renewed: tuple[LeaseRef, ...]
    stale: tuple[LeaseRef, ...]
    redeliver: tuple[Assignment, ...]


def look_ahead(tx: Tx, refs: Sequence[LeaseRef]) -> None:
    """Reads what reports of these leases are going to ask for, in two queries instead of two for each."""
    tx.tickets_by_id(list({ref.ticket_id for ref in refs}))
    tx.attempts_by_id(list({ref.attempt_id for ref in refs}))


def started(tx: Tx, host_id: str, ref: LeaseRef, now: float, *, vm_id: str, boot: BootTiming) -> None:
    """The VM is up."""
    ticket, attempt = _held(tx, host_id, ref)
    tx.save_attempts([replace(attempt, vm_id=vm_id, boot=boot)])
    data = {"attempt": ref.attempt_id, "vm": vm_id, "tier": boot.tier.value, "boot_us": boot.boot_us}
    tx.add_events([NewEvent(f"ticket:{ticket.id}", "attempt.started", data)], now)
    open_run(tx, ticket, now)


def running(tx: Tx, host_id: str, ref: LeaseRef, now: float, boot: BootTiming) -> None:
    """The agent runs. A repeated message changes nothing."""
    ticket, attempt = _held(tx, host_id, ref)
    if ticket.state is not TicketState.ASSIGNED:
        return
    tx.save_attempts([replace(attempt, state=AttemptState.RUNNING, boot=boot, started_at=now)])
    commit_steps(tx, [advance(ticket, Action.START, now)], now)


def answered(tx: Tx, host_id: str, ref: LeaseRef, now: float, number: int) -> None:
    """The host keeps this answer now: it needs not be told again."""
    _held(tx, host_id, ref)
    tx.effect_done(answer_key(ref.attempt_id, number), now)


def finished(
    tx: Tx, host_id: str, ref: LeaseRef, now: float, result: AttemptResult, *, times: LeaseTimes = TIMES
) -> None:
    """The attempt ended; with success the ticket goes into review. InvalidInput for a head that is no object id."""
    ticket, attempt = _held(tx, host_id, ref)
    for text in (result.head, result.base):
        if text and not is_object_id(text):
            raise InvalidInput("an attempt's head and base are full object ids", reason="bad_object_id")
    hit("finished_before_commit")
    if result.cause or not result.ok:
        cause = cause_of(result.cause).name if result.cause else guest_cause(result.guest_cause, result.phase)
        end_attempts(tx, [(ticket, attempt)], now, replace(result, cause=cause), times)
        return
    tx.save_attempts([_closed(attempt, AttemptState.SUCCEEDED, result, now, base=result.base, head=result.head)])
    close_runs(tx, [ticket], RunState.SUCCEEDED, _text(result.reason), now)
    step = advance(
        ticket,
        Action.FINISH,
        now,
        reason=_text(result.reason),
        head=result.head,
        base=result.base,
        findings=result.findings,
        blocked_calls=result.blocked_calls,
        template_digest=result.template_digest,
    )
    commit_steps(tx, [step], now)


def lost(
    tx: Tx, host_id: str, ref: LeaseRef, now: float, *, cause: str, reason: str, times: LeaseTimes = TIMES
) -> None:
    """The VM is gone without a result."""
    held = _held(tx, host_id, ref)
    end_attempts(tx, [held], now, AttemptResult(ok=False, cause=cause_of(cause).name, reason=reason), times)


def lose_all(
    tx: Tx,
    tickets: Sequence[Ticket],
    now: float,
    *,
    cause: str,
    reason: str,
    times: LeaseTimes = TIMES,
    at_work: bool = False,
) -> tuple[Step, ...]:
    """Ends the current attempts of leased tickets, in one batch: their host is gone, or forgot them.

    `at_work`: it is there and runs them; what comes next waits until it has stopped that, or must have.
    """
    attempts = {each.id: each for each in tx.attempts_by_id([ticket.attempt_id for ticket in tickets])}
    held = [(ticket, attempts.get(ticket.attempt_id)) for ticket in tickets]
    return end_attempts(tx, held, now, AttemptResult(ok=False, cause=cause, reason=reason), times, at_work=at_work)


def stopped(tx: Tx, host_id: str, ref: LeaseRef, now: float) -> None:
    """The host has nothing of the attempt at work any more: who waited for that may go on."""
    attempt, ticket = tx.attempt(ref.attempt_id), next(iter(tx.tickets_by_id([ref.ticket_id])), None)
    if ticket is None or attempt is None or attempt.host_id != host_id or attempt.cause not in CUT_OFF:
        return
    newest = (ticket.attempt_id, ticket.fence) == (ref.attempt_id, ref.fence)
    if newest and ticket.not_before > now and allows(ticket, Action.VACATE):
        commit_steps(tx, [advance(ticket, Action.VACATE, now, reason="its last VM has stopped")], now)


def renew(tx: Tx, host_id: str, refs: Sequence[LeaseRef], now: float, times: LeaseTimes = TIMES) -> Renewed:
    """Prolongs every lease that the host holds; the others are stale, and to be destroyed. Each is answered once."""
    answer, found = _sorted(tx, host_id, refs)
    moves = []
    for ref in answer.renewed:
        ticket = found[ref.ticket_id]
        # A late message must not shorten what an earlier one gave.
        expires_at = max(now + times.ttl_s, ticket.lease_expires_at or 0.0)
        moves.append((ticket, replace(ticket, lease_expires_at=expires_at)))
    if moves:
        tx.save_tickets(moves)
    return answer


def confirm(reader: Reader, host_id: str, refs: Sequence[LeaseRef]) -> Renewed:
    """As `renew`, with nothing stored: for a time in which nothing can be, and in which no lease expires either."""
    return _sorted(reader, host_id, refs)[0]


def _sorted(reader: Reader, host_id: str, refs: Sequence[LeaseRef]) -> tuple[Renewed, dict[str, Ticket]]:
    refs = tuple(dict.fromkeys(refs))
    found = {ticket.id: ticket for ticket in reader.tickets_by_id(sorted({ref.ticket_id for ref in refs}))}
    renewed = tuple(ref for ref in refs if holds(found.get(ref.ticket_id), host_id, ref))
    kept = set(renewed)
    return Renewed(renewed, tuple(ref for ref in refs if ref not in kept)), found


def hello(
    tx: Tx, host_id: str, alive: Sequence[LeaseRef], now: float, *, rebooted: bool, times: LeaseTimes = TIMES
) -> Reconciled:
    """Settles the leases of a host that attached, against the attempts that it says are alive.

    `rebooted`: its daemon is not the one that we knew, so whatever it does not name is lost. Otherwise only what it
    was known to run is; the rest never arrived.
    """
    answer = renew(tx, host_id, alive, now, times)
    # What it was told before it broke off may not have arrived.
    tx.effects_again([answer_key(ref.attempt_id) for ref in answer.renewed], now)
    named = {ref.attempt_id for ref in answer.renewed}
    missing = [ticket for ticket in tx.leased_tickets(host_id) if ticket.attempt_id not in named]
    unsent = [] if rebooted else [ticket for ticket in missing if ticket.state is TicketState.ASSIGNED]
    again = [assignment for ticket in unsent if (assignment := rebuild(tx, ticket))]
    kept = {assignment.ticket.id for assignment in again}
    gone = [ticket for ticket in missing if ticket.id not in kept]
    if gone:
        lose_all(tx, gone, now, cause="vm_lost", reason="the host came back without it", times=times)
    return Reconciled(answer.renewed, answer.stale, tuple(again))


def agent_events(tx: Tx, host_id: str, ref: LeaseRef, now: float, events: Sequence[AgentEvent]) -> None:
    """Stores what an agent wrote. A question makes the ticket wait for its answer."""
    ticket, _ = _held(tx, host_id, ref)
    _store_events(tx, ref, now, events)
    record(tx, ticket, [(event.type, event.text, event.data) for event in events], now)
    if used := usage_of(event.data for event in events if event.type == "usage"):
        tx.add_usage(ref.attempt_id, used)
    lines = [event.text for event in events if event.type == "log" and event.text.strip()]
    if lines and (last := lines[-1][:MAX_LOG]) != ticket.last_log:
        logged = replace(ticket, last_log=last)
        tx.save_tickets([(ticket, logged)])
        ticket = logged
    questions = [event.text for event in events if event.type == "question"]
    if questions and ticket.state is TicketState.ASSIGNED:
        ticket = commit_steps(tx, [advance(ticket, Action.START, now)], now)[0].ticket
    if questions and ticket.state is TicketState.RUNNING:
        commit_steps(tx, [advance(ticket, Action.ASK, now, question=questions[-1])], now)


def _store_events(tx: Tx, ref: LeaseRef, now: float, events: Sequence[AgentEvent]) -> None:
    """Keeps them, up to a number and a size for each ticket: its host should drop the rest, but need not be honest."""
    topic = f"ticket:{ref.ticket_id}"
    count = tx.newest_event(topic)
    # A few cannot be too large, and most tickets have few.
    size = tx.event_bytes(topic) if count * LARGEST_EVENT > MAX_EVENT_BYTES // 2 else 0
    if not events or count >= MAX_EVENTS or size >= MAX_EVENT_BYTES:
        return
    kept = [NewEvent(topic, _event_type(event), _event_data(ref, event)) for event in events[: MAX_EVENTS - count]]
    more = sum(len(json.dumps(event.data)) for event in kept) if size else 0
    tx.add_event_bytes(topic, more)
    if count + len(events) > MAX_EVENTS or size + more >= MAX_EVENT_BYTES:
        why = f"the ticket has {MAX_EVENTS} events or {MAX_EVENT_BYTES >> 20} MiB of them; no more are kept"
        capped = AgentEvent(events[-1].seq, "log_capped", why)
        kept.append(NewEvent(topic, _event_type(capped), _event_data(ref, capped)))
    tx.add_events(kept, now)


def _event_type(event: AgentEvent) -> str:
    return "call.blocked" if event.type == "blocked" else f"agent.{event.type}"


def _event_data(ref: LeaseRef, event: AgentEvent) -> dict[str, Any]:
    data: dict[str, Any] = {"attempt": ref.attempt_id, "seq": event.seq, "text": event.text}
    if event.data:
        data["data"] = _finite(dict(event.data))
    if event.time:
        data["time"] = event.time
    if event.gap:
        data["gap"] = event.gap
    return data


def _finite(value: Any) -> Any:
    """JSON has no NaN or Infinity; a guest's Struct may."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _held(tx: Tx, host_id: str, ref: LeaseRef) -> tuple[Ticket, Attempt]:
    ticket = next(iter(tx.tickets_by_id([ref.ticket_id])), None)
    attempt = tx.attempt(ref.attempt_id)
    if ticket is None or attempt is None or not holds(ticket, host_id, ref):
        # The same words whether it never existed or is another's: a host learns nothing of what it does not hold.
        raise StaleFence(f"attempt {ref.attempt_id} with fence {ref.fence} is not leased to this host")
    return ticket, attempt


def end_attempts(
    tx: Tx,
    held: Sequence[tuple[Ticket, Attempt | None]],
    now: float,
    result: AttemptResult,
    times: LeaseTimes = TIMES,
    *,
    at_work: bool = False,
) -> tuple[Step, ...]:
    """Ends attempts that failed by `result.cause`, each with its record, and lets the table say what follows."""
    cause, reason = cause_of(result.cause), _text(result.reason)
    state, action = (AttemptState.LOST, Action.LOSE) if cause.is_loss else (AttemptState.FAILED, Action.FAIL)
    steps = [
        advance(ticket, action, now, cause=cause.name, reason=reason, retry_times=times.retry, at_work=at_work)
        for ticket, _ in held
    ]
    tx.save_attempts([_closed(attempt, state, result, now) for _, attempt in held if attempt])
    tx.add_failures([_failure(tx, step, now) for step in steps])
    close_runs(tx, [ticket for ticket, _ in held], RunState(state.value), reason, now)
    return commit_steps(tx, steps, now)


def _failure(tx: Tx, step: Step, now: float) -> Failure:
    before, after = step.old, step.ticket
    cause = cause_of(after.causes[-1])
    return Failure(
        attempt_id=before.attempt_id,
        ticket_id=before.id,
        cause=cause.name,
        fault=cause.fault,
        host_id=before.host_id,
        agent=agent_of(tx, before),
        at=now,
        delay_s=round(after.not_before - now, 3) if after.state is TicketState.READY else None,
    )


def _closed(attempt: Attempt, state: AttemptState, result: AttemptResult, now: float, **pushed: str) -> Attempt:
    return replace(
        attempt,
        **pushed,
        state=state,
        cause=result.cause,
        reason=_text(result.reason),
        exit_code=result.exit_code,
        finished_at=now,
    )


def _text(reason: str) -> str:
    return reason[:MAX_REASON]
