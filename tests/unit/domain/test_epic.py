from __future__ import annotations

from collections import Counter

import pytest

from controlplane.domain.epic import Children, matters, roll_up
from controlplane.domain.ticket import TicketState

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
    rolled = roll_up(Children(Counter(states)))
    assert rolled is not None
    assert rolled[0] is expected


def test_without_children_there_is_nothing_to_add_up() -> None:
    assert roll_up(Children()) is None


def test_an_epic_that_has_begun_does_not_look_untouched_between_two_children() -> None:
    assert roll_up(Children({S.COMPLETED: 1, S.READY: 1}, begun=True)) == (S.RUNNING, "1 of 2 completed")
    failed = Children({S.FAILED: 1, S.READY: 1}, begun=True, failed=("TKT-001",))
    assert roll_up(failed) == (S.RUNNING, "0 of 2 completed, TKT-001 failed")


def test_a_child_that_begins_to_run_tells_its_epic_nothing_that_its_lease_did_not() -> None:
    assert not matters(S.ASSIGNED, S.RUNNING)
    assert matters(S.READY, S.ASSIGNED)
    assert matters(S.RUNNING, S.WAITING)
