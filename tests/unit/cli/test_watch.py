"""When following ends, and what counts as gone wrong."""

from __future__ import annotations

import pytest

from swarm_cli.follow import Watch
from swarm_sdk.types import Ticket, TicketSpec, TicketState

STATES = {name.removeprefix("TICKET_STATE_").lower(): value for name, value in TicketState.items()}


def watch(*rows: tuple[str, str, str]) -> Watch:
    """A watch of tickets given as (id, state, ids that it depends on)."""
    tickets = [
        Ticket(
            id=ident,
            key=ident,
            state=STATES[state],
            spec=TicketSpec(title=ident, depends_on=after.split()),
            pull_request_id="pr_1" if state == "in_review" else "",
        )
        for ident, state, after in rows
    ]
    return Watch({ticket.id: ticket for ticket in tickets})


@pytest.mark.parametrize("state", ["in_review", "completed", "failed", "cancelled"])
def test_is_settled_in_a_state_that_waits_for_a_person(state: str) -> None:
    assert watch(("a", state, "")).settled()


def test_in_review_without_its_pull_request_is_not_settled() -> None:
    seen = watch(("a", "in_review", ""))
    seen.tickets["a"].pull_request_id = ""

    assert not seen.settled()


@pytest.mark.parametrize("state", ["pending", "blocked", "ready", "assigned", "running", "waiting"])
def test_is_not_settled_while_something_can_happen(state: str) -> None:
    assert not watch(("a", "completed", ""), ("b", state, "")).settled()


@pytest.mark.parametrize("wrong", ["failed", "cancelled"])
def test_a_chain_behind_what_went_wrong_is_settled_and_failed(wrong: str) -> None:
    seen = watch(("a", wrong, ""), ("b", "blocked", "a"), ("c", "pending", "b"), ("d", "in_review", ""))

    assert seen.settled()
    assert [ticket.id for ticket in seen.failed()] == ["a", "b", "c"]


def test_a_ticket_blocked_by_one_that_runs_is_not_stuck() -> None:
    seen = watch(("a", "running", ""), ("b", "blocked", "a"))

    assert not seen.settled()
    assert seen.failed() == []


def test_one_wrong_dependency_of_several_is_enough() -> None:
    seen = watch(("a", "in_review", ""), ("b", "failed", ""), ("c", "blocked", "a b"))

    assert seen.settled()
    assert [ticket.id for ticket in seen.failed()] == ["b", "c"]


def test_a_ready_ticket_is_never_stuck() -> None:
    """Its dependency may have failed after it was satisfied: it runs all the same."""
    assert not watch(("a", "failed", ""), ("b", "ready", "a")).settled()


def test_unknown_dependencies_hold_nothing_back() -> None:
    assert not watch(("b", "blocked", "elsewhere")).settled()
