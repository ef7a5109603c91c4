from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.event import NewEvent
from controlplane.domain.project import CompleteOn
from controlplane.domain.ticket import Ticket, TicketState, TicketType
from controlplane.domain.transitions import Action, Step, advance, allows
from controlplane.errors import FailedPrecondition
from tests.fakes.seeds import NOW, a_ticket

S = TicketState
LATER = NOW + 100

# The whole table, by hand: what each action makes of each state with the facts below. Whatever is absent is illegal.
EXPECTED: dict[Action, dict[TicketState, TicketState]] = {
    Action.RELEASE: {S.PENDING: S.READY},
    Action.BLOCK: {S.READY: S.BLOCKED, S.BLOCKED: S.BLOCKED},
    Action.UNBLOCK: {S.BLOCKED: S.READY},
    Action.ASSIGN: {S.READY: S.ASSIGNED},
    Action.START: {S.ASSIGNED: S.RUNNING},
    Action.ASK: {S.RUNNING: S.WAITING},
    Action.ANSWER: {S.WAITING: S.RUNNING},
    Action.FINISH: {S.ASSIGNED: S.IN_REVIEW, S.RUNNING: S.IN_REVIEW, S.WAITING: S.IN_REVIEW},
    Action.OPEN: {S.IN_REVIEW: S.IN_REVIEW},
    Action.MERGE: {S.IN_REVIEW: S.COMPLETED, S.COMPLETED: S.COMPLETED},
    Action.CLOSE: {S.IN_REVIEW: S.FAILED, S.COMPLETED: S.COMPLETED},
    Action.FAIL: {S.ASSIGNED: S.READY, S.RUNNING: S.READY, S.WAITING: S.READY},
    Action.LOSE: {S.ASSIGNED: S.READY, S.RUNNING: S.READY, S.WAITING: S.READY},
    Action.CANCEL: dict.fromkeys(
        (S.PENDING, S.BLOCKED, S.READY, S.ASSIGNED, S.RUNNING, S.WAITING, S.IN_REVIEW), S.CANCELLED
    ),
    Action.RETRY: {S.FAILED: S.READY, S.CANCELLED: S.READY},
    Action.VACATE: {state: state for state in (S.READY, S.BLOCKED, S.FAILED, S.CANCELLED)},
    Action.ROLL_UP: {},
}
FACTS: dict[Action, dict[str, Any]] = {
    Action.BLOCK: {"blocked_by": ("TKT-009",)},
    Action.ASSIGN: {"host_id": "hs_2", "attempt_id": "at_2", "lease_expires_at": LATER + 45},
    Action.ASK: {"question": "Which?"},
    Action.ANSWER: {"text": "That one", "number": 1},
    Action.FINISH: {"head": "a" * 40, "base": "b" * 40},
    Action.OPEN: {"pull_request_id": "pr_1", "complete_on": CompleteOn.MERGED},
    Action.FAIL: {"cause": "agent_crashed"},
    Action.LOSE: {"cause": "vm_lost"},
    Action.ROLL_UP: {"to": S.RUNNING},
}


def a_leased(state: TicketState = S.RUNNING, **fields: Any) -> Ticket:
    held = {"fence": 3, "attempts": 3, "host_id": "hs_1", "attempt_id": "at_1", "lease_expires_at": NOW + 45}
    return a_ticket(1, state, **{**held, **fields})


def move(ticket: Ticket, action: Action, **facts: Any) -> Step:
    return advance(ticket, action, LATER, **{**FACTS.get(action, {}), **facts})


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("state", TicketState)
def test_every_state_and_action(state: TicketState, action: Action) -> None:
    ticket = a_leased(state)
    target = EXPECTED[action].get(state)
    assert allows(ticket, action) is (target is not None)
    if target is not None:
        assert move(ticket, action).ticket.state is target
        return
    with pytest.raises(FailedPrecondition) as error:
        move(ticket, action)
    assert error.value.reason == "illegal_transition"
    assert str(action) in error.value.message
    if action is not Action.ROLL_UP:
        assert f" is {state}: {action} is for tickets that are " in error.value.message


@pytest.mark.parametrize("action", Action)
def test_an_epic_only_follows_its_children_or_is_cancelled(action: Action) -> None:
    epic = a_ticket(1, S.READY, type=TicketType.EPIC)
    if action in {Action.ROLL_UP, Action.CANCEL}:
        assert move(epic, action).ticket.state in {S.RUNNING, S.CANCELLED}
    else:
        with pytest.raises(FailedPrecondition, match="epic"):
            move(epic, action)


def test_a_release_with_open_dependencies_blocks_and_names_them() -> None:
    step = move(a_ticket(1, S.PENDING), Action.RELEASE, blocked_by=("TKT-002", "TKT-003"))
    assert (step.ticket.state, step.ticket.state_reason) == (S.BLOCKED, "waits for TKT-002, TKT-003")


def test_an_assignment_takes_the_next_fence() -> None:
    ticket = move(a_ticket(1, S.READY, fence=3, attempts=3, not_before=NOW), Action.ASSIGN).ticket
    assert (ticket.fence, ticket.attempts, ticket.host_id, ticket.attempt_id) == (4, 4, "hs_2", "at_2")
    assert (ticket.lease_expires_at, ticket.not_before) == (LATER + 45, 0.0)


@pytest.mark.parametrize("action", [Action.FINISH, Action.FAIL, Action.LOSE, Action.CANCEL])
def test_the_end_of_an_attempt_gives_the_lease_up_and_keeps_the_fence(action: Action) -> None:
    ticket = move(a_leased(S.WAITING, question="Which?"), action).ticket
    assert (ticket.host_id, ticket.lease_expires_at, ticket.question) == ("", None, "")
    assert (ticket.fence, ticket.attempt_id) == (3, "at_1")


@pytest.mark.parametrize("head", ["", "b" * 40])
def test_nothing_changed_completes_without_a_pull_request(head: str) -> None:
    step = move(a_leased(), Action.FINISH, head=head)
    assert (step.ticket.state, step.ticket.state_reason) == (S.COMPLETED, "nothing to change")
    assert step.effects == ()


def test_an_accepted_head_asks_for_its_pull_request_once_per_fence() -> None:
    facts = {"findings": ("f",), "blocked_calls": ("pypi, x",), "template_digest": "d"}
    (effect,) = move(a_leased(), Action.FINISH, **facts).effects
    assert (effect.key, effect.kind) == ("pr:tk_1:3", "open_pull_request")
    assert effect.payload == {
        "ticket_id": "tk_1",
        "tenant_id": "default",
        "attempt_id": "at_1",
        "fence": 3,
        "head": "a" * 40,
        "base": "b" * 40,
        "findings": ["f"],
        "blocked_calls": ["pypi, x"],
        "template_digest": "d",
    }


def test_a_project_may_complete_on_opening() -> None:
    ticket = move(a_leased(S.IN_REVIEW), Action.OPEN, complete_on=CompleteOn.OPENED).ticket
    assert (ticket.state, ticket.pull_request_id, ticket.finished_at) == (S.COMPLETED, "pr_1", LATER)


def test_cancelling_a_leased_ticket_revokes_it_on_its_host() -> None:
    (effect,) = move(a_leased(), Action.CANCEL, reason="no longer wanted").effects
    lease = {"host_id": "hs_1", "attempt_id": "at_1", "ticket_id": "tk_1", "fence": 3}
    assert (effect.key, effect.kind) == ("revoke:at_1", "revoke")
    assert effect.payload == {**lease, "reason": "no longer wanted"}
    assert move(a_ticket(1, S.READY), Action.CANCEL).effects == ()


@pytest.mark.parametrize(
    ("action", "facts"), [(Action.CANCEL, {}), (Action.LOSE, {"cause": "host_stopping", "at_work": True})]
)
def test_what_was_cut_off_runs_again_when_its_vm_is_gone_or_must_be(action: Action, facts: dict[str, Any]) -> None:
    held = a_leased(lease_expires_at=LATER + 30)
    ended = advance(held, action, LATER, **facts)
    assert [effect.kind for effect in ended.effects] == ["revoke"]
    waiting = ended.ticket if ended.ticket.state is S.READY else move(ended.ticket, Action.RETRY).ticket
    assert (waiting.state, waiting.not_before) == (S.READY, LATER + 30)
    again = move(move(waiting, Action.CANCEL).ticket, Action.RETRY).ticket
    assert again.not_before == LATER + 30
    freed = move(waiting, Action.VACATE)
    assert freed.ticket.not_before == 0
    assert [event.topics for event in freed.events] == [("ticket:tk_1", "tickets")]


def test_a_retry_by_hand_waits_for_no_delay_of_what_it_was_cancelled_in() -> None:
    waiting = move(a_leased(), Action.FAIL).ticket
    assert (waiting.state, waiting.not_before > LATER) == (S.READY, True)
    again = move(move(waiting, Action.CANCEL).ticket, Action.RETRY).ticket
    assert (again.state, again.not_before) == (S.READY, 0)


def test_a_claim_that_is_cancelled_has_no_vm_to_wait_for() -> None:
    assert move(a_leased(host_id="ex_1"), Action.CANCEL).ticket.not_before == 0


def test_two_answers_of_one_attempt_are_two_effects() -> None:
    asked = a_leased(S.WAITING, question="Which?")
    first = advance(asked, Action.ANSWER, LATER, text="this", number=1).effects[0]
    second = advance(asked, Action.ANSWER, LATER, text="that", number=2).effects[0]
    assert first.key != second.key
    assert (first.payload["text"], first.payload["host_id"]) == ("this", "hs_1")


def test_failures_are_retried_after_1_5_and_30_seconds_and_then_dead() -> None:
    ticket, delays = a_leased(), []
    for _ in range(3):
        ticket = move(ticket, Action.FAIL, reason="exit status 1").ticket
        assert (ticket.state, ticket.dead_letter) == (S.READY, False)
        delays.append(ticket.not_before - LATER)
        ticket = replace(ticket, state=S.RUNNING)
    ticket = move(ticket, Action.FAIL, reason="exit status 1").ticket
    for promised, delay in zip((1, 5, 30), delays, strict=True):
        assert promised <= delay <= promised * 1.25
    assert (ticket.state, ticket.dead_letter, ticket.causes) == (S.FAILED, True, ("agent_crashed",) * 4)
    assert (ticket.state_reason, ticket.finished_at) == ("agent_crashed: exit status 1", LATER)


def test_tickets_that_fail_together_do_not_come_back_together_and_a_replay_is_the_same() -> None:
    def times() -> set[float]:
        lost = [move(replace(a_leased(), id=f"tk_{number}"), Action.LOSE).ticket for number in range(40)]
        return {ticket.not_before for ticket in lost}

    assert len(times()) > 30
    assert times() == times()


def test_a_parked_ticket_is_failed_but_no_dead_letter() -> None:
    ticket = move(a_leased(), Action.FAIL, cause="budget").ticket
    assert (ticket.state, ticket.dead_letter, ticket.causes) == (S.FAILED, False, ("budget",))


def test_a_retry_by_hand_starts_with_a_clean_slate_and_the_old_fence() -> None:
    dead = a_ticket(1, S.FAILED, fence=4, dead_letter=True, causes=("agent_crashed",) * 4, finished_at=NOW)
    ticket = move(dead, Action.RETRY).ticket
    assert (ticket.state, ticket.causes, ticket.dead_letter, ticket.finished_at) == (S.READY, (), False, None)
    assert ticket.fence == 4


def test_a_change_of_state_is_an_event_of_the_ticket_and_of_the_list() -> None:
    step = move(a_leased(), Action.LOSE, reason="gone")
    data = {
        "from": "running",
        "to": "ready",
        "reason": "vm_lost: gone",
        "fence": 3,
        "attempt": "at_1",
        "host": "hs_1",
        "ticket_id": "tk_1",
        "key": "TKT-001",
        "tenant_id": "default",
        "cause": "vm_lost",
    }
    assert step.events == (NewEvent("ticket:tk_1", "ticket.state", data, also="tickets"),)


def test_no_news_is_no_event() -> None:
    blocked = a_ticket(1, S.BLOCKED, state_reason="waits for TKT-009")
    assert move(blocked, Action.BLOCK).events == ()
    assert move(blocked, Action.BLOCK, reason="TKT-009 failed").events != ()


def test_merging_what_was_completed_on_opening_changes_no_time() -> None:
    done = a_ticket(1, S.COMPLETED, finished_at=NOW, state_reason="pull request opened")
    assert move(done, Action.MERGE).ticket.finished_at == NOW
