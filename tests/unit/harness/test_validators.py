"""Each validator finds what it is for, and nothing in a run that went well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.e2e.harness import validators
from tests.e2e.harness.history import History
from tests.e2e.harness.ledger import AttemptRow, EventRow, Ledger, PullRow, TicketRow

HEAD = "a" * 40
TICKET = TicketRow("tk_1", "TKT-001", "in_review", 2, 2, dead_letter=False, causes=("host_lost",), head=HEAD,
                   project_id="pj_1", pull_request_id="pr_1")  # fmt: skip
LOST = AttemptRow("at_1", "tk_1", 1, 1, "hs_1", "lost", "host_lost", "", 100.0, 110.0)
WON = AttemptRow("at_2", "tk_1", 2, 2, "hs_2", "succeeded", "", HEAD, 111.0, 120.0)
BRANCHES = {"pj_1": {"main": "b" * 40, "swarm/TKT-001/a2": HEAD, "swarm/TKT-001/pr": HEAD}}


def moved(seq: int, to: str, attempt: str = "") -> EventRow:
    return EventRow("ticket:tk_1", seq, "ticket.state", 100.0 + seq, {"to": to, "attempt": attempt})


def said(seq: int, attempt: str) -> EventRow:
    return EventRow("ticket:tk_1", seq, "agent.log", 100.0 + seq, {"attempt": attempt})


EVENTS = (
    moved(1, "assigned", "at_1"),
    said(2, "at_1"),
    moved(3, "ready"),
    moved(4, "assigned", "at_2"),
    moved(5, "running", "at_2"),
    said(6, "at_2"),
    moved(7, "in_review", "at_2"),
)
GOOD = Ledger(
    tickets=(TICKET,),
    attempts=(LOST, WON),
    events=EVENTS,
    pulls=(PullRow("tk_1", "TKT-001", "pj_1", "swarm/TKT-001/pr", HEAD),),
)


def history(*, seen: int = len(EVENTS)) -> History:
    made = History()
    made.add("accepted", "tk_1", key="TKT-001")
    for event in EVENTS[:seen]:
        made.add("seen", "tk_1", seq=event.seq, type=event.type, data={})
    made.add("listed", "tk_1", state="in_review")
    return made


def test_a_run_that_went_well_has_no_faults() -> None:
    assert validators.check(history(), GOOD, BRANCHES) == []


def with_ticket(**changes: Any) -> Ledger:
    return replace(GOOD, tickets=(replace(TICKET, **changes),))


def with_attempts(*attempts: AttemptRow) -> Ledger:
    return replace(GOOD, attempts=attempts)


@pytest.mark.parametrize(
    ("validator", "bad", "word"),
    [
        (validators.stored_well, replace(GOOD, undelivered=("open:tk_1",)), "never delivered"),
        (validators.stored_well, replace(GOOD, faults=("row 3 missing from index",)), "row 3"),
        (validators.completed_once, with_attempts(replace(LOST, state="succeeded"), WON), "2 attempts that succeeded"),
        (validators.completed_once, with_attempts(LOST, replace(WON, state="lost")), "0 attempts that succeeded"),
        (validators.completed_once, with_attempts(replace(LOST, state="succeeded"), replace(WON, state="lost")),
         "not its last"),
        (validators.fences_grow, with_attempts(LOST, replace(WON, fence=1)), "do not grow"),
        (validators.fences_grow, with_attempts(LOST, replace(WON, number=3)), "counts 2 attempts"),
        (validators.fences_grow, with_ticket(fence=3), "has fence 3"),
        (validators.one_at_a_time, with_attempts(LOST, replace(WON, assigned_at=105.0)), "before at_1 was over"),
        (validators.one_at_a_time, with_attempts(LOST, replace(WON, finished_at=None)), "still succeeded"),
        (validators.no_stale_write, replace(GOOD, events=(*EVENTS[:5], said(6, "at_1"))), "written by at_1"),
        (validators.no_stale_write, replace(GOOD, events=(*EVENTS, said(8, "at_2"))), "nobody had it"),
        (validators.numbered_without_gaps, replace(GOOD, events=EVENTS[1:]), "gaps"),
        (validators.numbered_without_gaps, replace(GOOD, events=(*EVENTS, EVENTS[-1])), "gaps"),
    ],
)  # fmt: skip
def test_faults_of_what_is_stored_are_found(validator: Callable[[Ledger], list[str]], bad: Ledger, word: str) -> None:
    assert validator(GOOD) == []
    assert any(word in problem for problem in validator(bad))


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (replace(GOOD, tickets=()), "is not stored"),
        (replace(GOOD, tickets=(TICKET, replace(TICKET, id="tk_2"))), "nobody asked"),
        (with_ticket(state="running"), "at rest in state running"),
        (with_ticket(pull_request_id=""), "without a pull request"),
        (with_ticket(state="failed", dead_letter=True), "before its tries were used up"),
        (with_ticket(state="completed"), "shown as in_review"),
    ],
)
def test_lost_tickets_are_found(bad: Ledger, word: str) -> None:
    assert any(word in problem for problem in validators.none_lost(history(), bad))


def test_a_dead_letter_with_all_its_causes_is_no_loss() -> None:
    dead = with_ticket(state="failed", dead_letter=True, causes=("host_lost",) * 4)
    made = History()
    made.add("accepted", "tk_1")
    assert validators.none_lost(made, dead) == []


@pytest.mark.parametrize("seen", [1, 6])
def test_a_watch_with_a_gap_is_found(seen: int) -> None:
    assert validators.seen_as_stored(history(), GOOD) == []
    assert validators.seen_as_stored(history(seen=seen), GOOD)


@pytest.mark.parametrize(
    ("bad", "branches", "word"),
    [
        (replace(GOOD, pulls=(*GOOD.pulls, *GOOD.pulls)), BRANCHES, "2 pull requests"),
        (replace(GOOD, pulls=()), BRANCHES, "0 pull requests"),
        (GOOD, {"pj_1": {}}, "is missing"),
        (GOOD, {"pj_1": {"swarm/TKT-001/pr": "c" * 40}}, "expected aaaa"),
        (GOOD, {"pj_1": {**BRANCHES["pj_1"], "swarm/TKT-009/pr": HEAD}}, "expected nothing"),
    ],
)
def test_missing_doubled_and_foreign_pull_requests_are_found(
    bad: Ledger, branches: validators.Branches, word: str
) -> None:
    assert any(word in problem for problem in validators.one_pull_request(bad, branches))


def test_work_of_a_dead_host_has_to_be_resumed_in_time() -> None:
    assert validators.resumed_in_time(GOOD, "hs_1", 105.0, within_s=5.0) == []
    assert validators.resumed_in_time(GOOD, "hs_1", 111.0, within_s=0.0) == []
    assert "5.0 s after" in validators.resumed_in_time(GOOD, "hs_1", 105.0, within_s=4.0)[0]
    assert "0 after it" in validators.resumed_in_time(with_attempts(LOST), "hs_1", 105.0, within_s=5.0)[0]


def test_a_placement_after_a_drain_is_found() -> None:
    assert validators.placed_after(GOOD, "hs_2", 111.0) == []
    assert validators.placed_after(GOOD, "hs_2", 110.0) == ["at_2 was placed 1.00 s after"]
