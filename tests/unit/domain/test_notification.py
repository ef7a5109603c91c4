from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.notification import (
    LONGEST_TEXT,
    Channel,
    Kind,
    Notice,
    Preferences,
    host_lost,
    notice_of,
    topic_of,
)
from controlplane.domain.ticket import TicketState, TicketType
from tests.fakes.seeds import a_ticket

S = TicketState


def told(before: TicketState, after: TicketState, **fields: Any) -> Notice | None:
    """Of a move of TKT-001, "Paint it"."""
    kept = {"type": fields["type"]} if "type" in fields else {}
    return notice_of(a_ticket(1, before, title="Paint it", **kept), a_ticket(1, after, title="Paint it", **fields))


def test_a_ticket_that_failed_says_why_and_whether_anything_tries_again() -> None:
    assert told(S.RUNNING, S.FAILED, state_reason="tests failed") == Notice(
        Kind.TICKET_FAILED, "ticket:tk_1", "Failed: TKT-001: Paint it", "tests failed"
    )
    dead = told(S.RUNNING, S.FAILED, dead_letter=True, causes=("oom", "stalled"))
    assert dead is not None
    assert dead.text == "stalled\nIt needs a person: nothing tries it again."


def test_a_question_is_told_with_its_words() -> None:
    assert told(S.RUNNING, S.WAITING, question="Blue or green?") == Notice(
        Kind.QUESTION_ASKED, "ticket:tk_1", "Question about TKT-001: Paint it", "Blue or green?"
    )


def test_a_pull_request_is_told_once() -> None:
    opened = told(S.IN_REVIEW, S.IN_REVIEW, pull_request_id="pr_1")
    assert opened is not None
    assert (opened.kind, opened.title) == (Kind.PULL_REQUEST_OPENED, "Pull request for TKT-001: Paint it")
    shown = a_ticket(1, S.IN_REVIEW, pull_request_id="pr_1")
    assert notice_of(shown, a_ticket(1, S.COMPLETED, pull_request_id="pr_1")) is None


@pytest.mark.parametrize("state", [S.COMPLETED, S.FAILED])
def test_a_build_is_told_when_it_is_over(state: TicketState) -> None:
    notice = told(S.RUNNING, state, type=TicketType.EPIC, state_reason="all merged")
    assert notice == Notice(Kind.BUILD_FINISHED, "ticket:tk_1", f"Build {state}: TKT-001: Paint it", "all merged")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (S.PENDING, S.READY),
        (S.READY, S.ASSIGNED),
        (S.ASSIGNED, S.RUNNING),
        (S.WAITING, S.RUNNING),
        (S.WAITING, S.WAITING),
        (S.FAILED, S.FAILED),
        (S.RUNNING, S.CANCELLED),
        (S.IN_REVIEW, S.COMPLETED),
    ],
)
def test_of_all_other_moves_nobody_is_told(before: TicketState, after: TicketState) -> None:
    assert told(before, after) is None
    if after is not S.COMPLETED:
        assert told(before, after, type=TicketType.EPIC) is None


def test_no_text_is_longer_than_an_inbox_takes() -> None:
    notice = told(S.RUNNING, S.WAITING, question="x" * 10_000)
    assert notice is not None
    assert len(notice.text) == LONGEST_TEXT


def test_a_host_that_is_gone_is_told_with_what_was_taken_back() -> None:
    notice = host_lost("hs_1", "rack-7", 3)
    assert (notice.kind, notice.subject, notice.title) == (Kind.HOST_LOST, "host:hs_1", "Host rack-7 is gone")
    assert notice.text.startswith("3 tickets")


@pytest.mark.parametrize("kind", Kind)
def test_who_said_nothing_is_told_in_the_browser_and_who_said_so_nowhere(kind: Kind) -> None:
    assert Preferences().of(kind) == {Channel.BROWSER}
    silent = Preferences({kind: frozenset()})
    assert silent.of(kind) == frozenset()
    assert all(silent.of(other) == {Channel.BROWSER} for other in Kind if other is not kind)


def test_a_webhook_is_in_no_log_by_accident() -> None:
    assert "sealed" not in repr(Preferences(slack="sealed"))
    assert topic_of("us_1") == "user:us_1"
