"""The one table of ticket states and the one gate through it. Whatever else sets a state is a bug."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias, TypedDict, Unpack

from controlplane.domain import retry
from controlplane.domain.change import replace
from controlplane.domain.claim import is_external
from controlplane.domain.epoch import next_fence
from controlplane.domain.event import Effect, NewEvent
from controlplane.domain.failure import Strategy, cause_of
from controlplane.domain.project import CompleteOn
from controlplane.domain.ticket import LEASED, TERMINAL, Ticket, TicketState, TicketType
from controlplane.errors import FailedPrecondition

S = TicketState

TICKETS_TOPIC: Final = "tickets"
OPEN_PULL_REQUEST: Final = "open_pull_request"
REVOKE: Final = "revoke"
ANSWER: Final = "answer"


class Action(StrEnum):
    RELEASE = "release"  # a held ticket may run
    BLOCK = "block"  # a dependency no longer is (or never will be) satisfied
    UNBLOCK = "unblock"  # the last dependency is satisfied
    ASSIGN = "assign"  # leased to a host
    START = "start"  # its agent runs
    ASK = "ask"  # its agent asked a person
    ANSWER = "answer"
    FINISH = "finish"  # the attempt succeeded
    OPEN = "open"  # its pull request is open
    MERGE = "merge"
    CLOSE = "close"  # its pull request was closed unmerged
    FAIL = "fail"  # the attempt failed
    LOSE = "lose"  # the VM or the host is gone
    CANCEL = "cancel"
    RETRY = "retry"  # by hand, with a clean slate
    VACATE = "vacate"  # nothing of its last attempt is at work any more
    ROLL_UP = "roll_up"  # an epic follows its children


class Facts(TypedDict, total=False):
    """What an action knows beside the ticket. Those in brackets need it."""

    reason: str
    blocked_by: tuple[str, ...]  # [release, retry, block] keys of unsatisfied dependencies
    host_id: str  # [assign]
    attempt_id: str  # [assign]
    lease_expires_at: float  # [assign]
    epoch: int  # that of the deployment; see domain.epoch
    question: str  # [ask]
    text: str  # [answer]
    number: int  # [answer] counts those of the attempt from 1
    head: str  # [finish] empty: nothing to change
    base: str
    findings: tuple[str, ...]
    blocked_calls: tuple[str, ...]
    template_digest: str
    cause: str  # [fail, lose] one of `failure.CAUSES`
    retry_times: retry.RetryTimes  # [fail, lose] the usual ones, unless named
    at_work: bool  # [lose] its VM may go on: its host is told to stop it, and the next one waits for that
    pull_request_id: str  # [open]
    complete_on: CompleteOn  # [open]
    to: TicketState  # [roll_up]


@dataclass(frozen=True, slots=True)
class Step:
    """One move through the table, not yet stored."""

    old: Ticket
    ticket: Ticket
    action: Action
    events: tuple[NewEvent, ...] = ()
    effects: tuple[Effect, ...] = ()


def _table() -> dict[tuple[TicketState, Action], frozenset[TicketState]]:
    table: dict[tuple[TicketState, Action], frozenset[TicketState]] = {
        (S.PENDING, Action.RELEASE): frozenset({S.READY, S.BLOCKED}),
        (S.READY, Action.BLOCK): frozenset({S.BLOCKED}),
        (S.BLOCKED, Action.BLOCK): frozenset({S.BLOCKED}),
        (S.BLOCKED, Action.UNBLOCK): frozenset({S.READY}),
        (S.READY, Action.ASSIGN): frozenset({S.ASSIGNED}),
        (S.ASSIGNED, Action.START): frozenset({S.RUNNING}),
        (S.RUNNING, Action.ASK): frozenset({S.WAITING}),
        (S.WAITING, Action.ANSWER): frozenset({S.RUNNING}),
        (S.IN_REVIEW, Action.OPEN): frozenset({S.IN_REVIEW, S.COMPLETED}),
        (S.IN_REVIEW, Action.MERGE): frozenset({S.COMPLETED}),
        (S.IN_REVIEW, Action.CLOSE): frozenset({S.FAILED}),
        # Completed when its pull request opened; what happens to that later changes nothing.
        (S.COMPLETED, Action.MERGE): frozenset({S.COMPLETED}),
        (S.COMPLETED, Action.CLOSE): frozenset({S.COMPLETED}),
    }
    for state in (S.ASSIGNED, S.RUNNING, S.WAITING):
        # A result may overtake the news that the agent started.
        table[state, Action.FINISH] = frozenset({S.IN_REVIEW, S.COMPLETED})
        table[state, Action.FAIL] = table[state, Action.LOSE] = frozenset({S.READY, S.FAILED})
    for state in (S.FAILED, S.CANCELLED):
        table[state, Action.RETRY] = frozenset({S.READY, S.BLOCKED})
    for state in (S.READY, S.BLOCKED, S.FAILED, S.CANCELLED):
        table[state, Action.VACATE] = frozenset({state})
    for state in set(S) - TERMINAL:
        table[state, Action.CANCEL] = frozenset({S.CANCELLED})
    return table


TABLE: Final[Mapping[tuple[TicketState, Action], frozenset[TicketState]]] = _table()
EPIC_ACTIONS: Final = frozenset({Action.ROLL_UP, Action.CANCEL})


def advance(ticket: Ticket, action: Action, now: float, **facts: Unpack[Facts]) -> Step:
    """The ticket after `action`, with the events and effects that are stored in the same commit.

    FailedPrecondition names the state and the action when the table has no such move.
    """
    targets = _guard(ticket, action)
    changes = _RULES[action](ticket, now, facts)
    state = changes.get("state", ticket.state)
    if targets and state not in targets:
        raise _illegal(ticket, f"{action} does not make it {state}")
    after = replace(ticket, **changes, updated_at=now, finished_at=_finished_at(ticket, state, now))
    return Step(ticket, after, action, _events(ticket, after), _effects(ticket, after, action, facts))


def allows(ticket: Ticket, action: Action) -> bool:
    """Whether the table has a move for it."""
    try:
        _guard(ticket, action)
    except FailedPrecondition:
        return False
    return True


def _guard(ticket: Ticket, action: Action) -> frozenset[TicketState]:
    """The states that the action may lead to; empty for a roll-up, which may lead to any."""
    epic = ticket.spec.type is TicketType.EPIC
    if epic != (action is Action.ROLL_UP) and not (epic and action in EPIC_ACTIONS):
        what = "the state of an epic follows its children" if epic else "only an epic rolls up"
        raise FailedPrecondition(f"{ticket.key} cannot {action}: {what}", reason="illegal_transition")
    if action is Action.ROLL_UP:
        return frozenset()
    if (targets := TABLE.get((ticket.state, action))) is None:
        raise _illegal(ticket, f"{action} is for tickets that are {_sources(action)}")
    return targets


def _sources(action: Action) -> str:
    return " or ".join(sorted(state for state, named in TABLE if named is action))


def _illegal(ticket: Ticket, why: str) -> FailedPrecondition:
    return FailedPrecondition(f"{ticket.key} is {ticket.state}: {why}", reason="illegal_transition")


# One rule per action: what changes of the ticket.

Changes: TypeAlias = dict[str, Any]
_UNLEASED: Final[Mapping[str, Any]] = {"host_id": "", "lease_expires_at": None, "question": ""}
"""`attempt_id` stays: it names the last attempt."""


def _runnable(facts: Facts) -> Changes:
    blocked_by = facts.get("blocked_by", ())
    if blocked_by:
        return {"state": S.BLOCKED, "state_reason": f"waits for {', '.join(blocked_by)}"}
    return {"state": S.READY, "state_reason": facts.get("reason", "")}


def _release(_ticket: Ticket, _: float, facts: Facts) -> Changes:
    return _runnable(facts)


def _block(_ticket: Ticket, _: float, facts: Facts) -> Changes:
    reason = facts.get("reason", "") or f"waits for {', '.join(facts.get('blocked_by', ()))}"
    return {"state": S.BLOCKED, "state_reason": reason}


def _unblock(_ticket: Ticket, _: float, facts: Facts) -> Changes:
    return {"state": S.READY, "state_reason": facts.get("reason", "")}


def _assign(ticket: Ticket, _: float, facts: Facts) -> Changes:
    return {
        "state": S.ASSIGNED,
        "state_reason": "",
        "fence": next_fence(ticket.fence, facts.get("epoch", 0)),
        "attempts": ticket.attempts + 1,
        "host_id": facts["host_id"],
        "attempt_id": facts["attempt_id"],
        "lease_expires_at": facts["lease_expires_at"],
        "not_before": 0.0,
    }


def _start(_ticket: Ticket, _: float, facts: Facts) -> Changes:
    return {"state": S.RUNNING, "state_reason": facts.get("reason", "")}


def _ask(_ticket: Ticket, _: float, facts: Facts) -> Changes:
    return {"state": S.WAITING, "state_reason": "waits for an answer", "question": facts["question"]}


def _answer(_ticket: Ticket, _: float, facts: Facts) -> Changes:
    return {"state": S.RUNNING, "state_reason": facts.get("reason", ""), "question": ""}


def _finish(_ticket: Ticket, _: float, facts: Facts) -> Changes:
    head, reason = facts["head"], facts.get("reason", "")
    if head and head != facts.get("base", ""):
        return {**_UNLEASED, "state": S.IN_REVIEW, "state_reason": reason, "head": head}
    return {**_UNLEASED, "state": S.COMPLETED, "state_reason": reason or "nothing to change"}


def _open(ticket: Ticket, _: float, facts: Facts) -> Changes:
    done = facts["complete_on"] is CompleteOn.OPENED
    reason = "pull request opened" if done else ticket.state_reason
    state = S.COMPLETED if done else S.IN_REVIEW
    return {"state": state, "state_reason": reason, "pull_request_id": facts["pull_request_id"]}


def _merge(_ticket: Ticket, _: float, facts: Facts) -> Changes:
    return {"state": S.COMPLETED, "state_reason": facts.get("reason", "") or "pull request merged"}


def _close(ticket: Ticket, _: float, facts: Facts) -> Changes:
    if ticket.state is S.COMPLETED:
        return {}
    return {"state": S.FAILED, "state_reason": facts.get("reason", "") or "pull request closed unmerged"}


def _end(ticket: Ticket, now: float, facts: Facts) -> Changes:
    cause = facts["cause"]
    jitter = retry.jitter(ticket.id, ticket.fence)
    verdict = retry.decide(ticket.causes, cause, facts.get("retry_times", retry.TIMES), jitter)
    reason = f"{cause}: {text}" if (text := facts.get("reason", "")) else cause
    still = _still_at(ticket) if facts.get("at_work") else 0.0
    ended = {**_UNLEASED, "causes": verdict.causes, "state_reason": reason, "not_before": still}
    if verdict.delay_s is None:
        return {**ended, "state": S.FAILED, "dead_letter": verdict.dead_letter}
    return {**ended, "state": S.READY, "not_before": max(now + verdict.delay_s, still)}


def _still_at(ticket: Ticket) -> float:
    """When nothing that this lease let run can still be at work: its host gave up before, whatever it hears of us.

    Whoever claimed a ticket has no VM of ours that would stand still.
    """
    return 0.0 if is_external(ticket.host_id) else ticket.lease_expires_at or 0.0


def _still_stopping(ticket: Ticket) -> float:
    """What it waits for, unless that is the delay of a retry: a person who retries it by hand has seen to the cause."""
    delayed = ticket.causes and cause_of(ticket.causes[-1]).strategy is not Strategy.AGAIN
    return 0.0 if delayed else ticket.not_before


def _cancel(ticket: Ticket, _: float, facts: Facts) -> Changes:
    # A later retry waits for the VM that is being stopped, be it by this or by what came before.
    still = _still_at(ticket) if ticket.state in LEASED else _still_stopping(ticket)
    reason = facts.get("reason", "") or "cancelled"
    return {**_UNLEASED, "state": S.CANCELLED, "state_reason": reason, "not_before": still}


def _retry(_ticket: Ticket, _: float, facts: Facts) -> Changes:
    return {"dead_letter": False, "causes": (), **_runnable(facts)}


def _vacate(ticket: Ticket, _: float, facts: Facts) -> Changes:
    reason = facts.get("reason", "") if ticket.state is S.READY else ticket.state_reason
    return {"not_before": 0.0, "state_reason": reason}


def _roll_up(_ticket: Ticket, _: float, facts: Facts) -> Changes:
    return {"state": facts["to"], "state_reason": facts.get("reason", "")}


_RULES: Final[Mapping[Action, Callable[[Ticket, float, Facts], Changes]]] = {
    Action.RELEASE: _release,
    Action.BLOCK: _block,
    Action.UNBLOCK: _unblock,
    Action.ASSIGN: _assign,
    Action.START: _start,
    Action.ASK: _ask,
    Action.ANSWER: _answer,
    Action.FINISH: _finish,
    Action.OPEN: _open,
    Action.MERGE: _merge,
    Action.CLOSE: _close,
    Action.FAIL: _end,
    Action.LOSE: _end,
    Action.CANCEL: _cancel,
    Action.RETRY: _retry,
    Action.VACATE: _vacate,
    Action.ROLL_UP: _roll_up,
}


def _finished_at(before: Ticket, state: TicketState, now: float) -> float | None:
    if state not in TERMINAL:
        return None
    return before.finished_at if before.state is state else now


def _seen(ticket: Ticket) -> tuple[object, ...]:
    """What people, or the scheduler, are told of when it changes."""
    return ticket.state, ticket.state_reason, ticket.not_before


def _events(before: Ticket, after: Ticket) -> tuple[NewEvent, ...]:
    opened = before.pull_request_id != after.pull_request_id
    if _seen(before) == _seen(after) and not opened:
        return ()
    data: dict[str, Any] = {
        "from": before.state,
        "to": after.state,
        "reason": after.state_reason,
        "fence": after.fence,
        "attempt": after.attempt_id,
        "host": after.host_id or before.host_id,
        "ticket_id": after.id,
        "key": after.key,
        "tenant_id": after.tenant_id,
    }
    if opened:
        data["pull_request"] = after.pull_request_id
    if len(after.causes) > len(before.causes):
        data["cause"] = after.causes[-1]
    return (NewEvent(f"ticket:{after.id}", "ticket.state", data, also=TICKETS_TOPIC),)


def _effects(before: Ticket, after: Ticket, action: Action, facts: Facts) -> tuple[Effect, ...]:
    if action is Action.FINISH and after.state is S.IN_REVIEW:
        return (_pull_request(after, facts),)
    if before.state in LEASED and (action is Action.CANCEL or facts.get("at_work")):
        payload = {**_lease(before), "reason": after.state_reason}
        return (Effect(f"revoke:{before.attempt_id}", REVOKE, payload),)
    if action is Action.ANSWER:
        key, number = answer_key(before.attempt_id, facts["number"]), facts["number"]
        return (Effect(key, ANSWER, {**_lease(before), "number": number, "text": facts["text"]}),)
    return ()


def answer_key(attempt_id: str, number: int | None = None) -> str:
    """Key of the effect that tells a host an answer; without a number what those of the attempt begin with."""
    return f"{ANSWER}:{attempt_id}:{'' if number is None else number}"


def _lease(ticket: Ticket) -> dict[str, Any]:
    return {
        "host_id": ticket.host_id,
        "attempt_id": ticket.attempt_id,
        "ticket_id": ticket.id,
        "fence": ticket.fence,
    }


def _pull_request(ticket: Ticket, facts: Facts) -> Effect:
    payload = {
        "ticket_id": ticket.id,
        "tenant_id": ticket.tenant_id,
        "attempt_id": ticket.attempt_id,
        "fence": ticket.fence,
        "head": ticket.head,
        "base": facts.get("base", ""),
        "findings": list(facts.get("findings", ())),
        "blocked_calls": list(facts.get("blocked_calls", ())),
        "template_digest": facts.get("template_digest", ""),
    }
    return Effect(f"pr:{ticket.id}:{ticket.fence}", OPEN_PULL_REQUEST, payload)
