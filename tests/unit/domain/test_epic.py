from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.epic import roll_up
from controlplane.domain.ticket import TicketState
from tests.fakes.seeds import a_ticket

S = TicketState


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([S.PENDING, S.PENDING], S.PENDING),
        ([S.READY, S.BLOCKED], S.READY),
        ([S.ASSIGNED, S.BLOCKED], S.RUNNING),
        ([S.RUNNING, S.FAILED], S.RUNNING),
        ([S.WAITING, S.BLOCKED], S.WAITING),
        ([S.IN_REVIEW, S.COMPLETED], S.IN_REVIEW),
        ([S.IN_REVIEW, S.FAILED], S.FAILED),
        ([S.FAILED, S.BLOCKED], S.FAILED),
        ([S.COMPLETED, S.COMPLETED], S.COMPLETED),
        ([S.COMPLETED, S.CANCELLED], S.COMPLETED),
        ([S.CANCELLED, S.CANCELLED], S.CANCELLED),
        ([S.COMPLETED, S.PENDING], S.PENDING),
    ],
)
def test_an_epic_is_what_its_children_add_up_to(states: list[TicketState], expected: TicketState) -> None:
    rolled = roll_up([a_ticket(number, state) for number, state in enumerate(states)])
    assert rolled is not None
    assert rolled[0] is expected


def test_without_children_there_is_nothing_to_add_up() -> None:
    assert roll_up([]) is None


def test_an_epic_that_has_begun_does_not_look_untouched_between_two_children() -> None:
    children = [a_ticket(1, S.COMPLETED, fence=1), a_ticket(2, S.READY)]
    assert roll_up(children) == (S.RUNNING, "1 of 2 completed")
    assert roll_up([replace(children[0], state=S.FAILED), children[1]]) == (
        S.RUNNING,
        "0 of 2 completed, TKT-001 failed",
    )
