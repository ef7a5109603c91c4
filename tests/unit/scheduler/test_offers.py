from __future__ import annotations

from typing import Any

import pytest

from controlplane.scheduler.offers import Offers, Wanted
from tests.fakes.seeds import NOW, TENANT, a_project, a_ticket


def offers(*tickets: tuple[int, dict[str, Any]], agent: str = "porter@1.0.0") -> Offers:
    made = Offers()
    for number, fields in tickets:
        made.put(a_ticket(number, **fields), agent)
    return made


def taken(made: Offers, wanted: Wanted | None = None, **state: Any) -> list[str]:
    """Ids in the order in which they are given."""
    found = []
    while offer := made.take(wanted or Wanted(TENANT), NOW, state.get("running", {}), state.get("projects", {})):
        found.append(offer.ticket.id)
    return found


def test_priority_comes_before_age_and_each_is_given_once() -> None:
    made = offers((1, {"created_at": NOW - 1}), (2, {"priority": 0}), (3, {"created_at": NOW - 2}))
    assert taken(made) == ["tk_2", "tk_3", "tk_1"]
    assert len(made) == 0


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(TENANT, ("porter",)), True),
        (Wanted(TENANT, ("other", "porter@1.0.0")), True),
        (Wanted(TENANT, ("porter@2.0.0",)), False),
        (Wanted(TENANT, ("port",)), False),
        (Wanted("another"), False),
        (Wanted(TENANT, project_id="pj_1"), True),
        (Wanted(TENANT, project_id="pj_2"), False),
        (Wanted(TENANT, tags=frozenset({"a"})), True),
        (Wanted(TENANT, tags=frozenset({"a", "c"})), False),
    ],
)
def test_a_claim_gets_what_it_wants_only(wanted: Wanted, found: bool) -> None:  # noqa: FBT001
    made = offers((1, {"project_id": "pj_1", "tags": ("a", "b")}))
    assert bool(taken(made, wanted)) is found


def test_a_project_at_its_limit_and_a_delayed_ticket_wait() -> None:
    key = (TENANT, "pj_1")
    made = offers((1, {"project_id": "pj_1"}), (2, {"not_before": NOW + 5}))
    projects = {key: a_project(1, max_concurrency=2)}
    assert taken(made, running={key: 2}, projects=projects) == []
    assert made.next_due(NOW) == NOW + 5
    assert taken(made, running={key: 1}, projects=projects) == ["tk_1"]


def test_the_project_with_the_least_running_goes_first() -> None:
    made = offers((1, {"project_id": "pj_1", "created_at": NOW - 9}), (2, {"project_id": "pj_2"}))
    assert taken(made, running={(TENANT, "pj_1"): 1}) == ["tk_2", "tk_1"]


def test_what_is_given_back_is_on_offer_again_unless_it_came_back_by_itself() -> None:
    made = offers((1, {}))
    offer = made.take(Wanted(TENANT), NOW, {}, {})
    assert offer
    made.put(a_ticket(1, priority=3), "porter@1.0.0")
    made.restore(offer)
    (again,) = [made.take(Wanted(TENANT), NOW, {}, {})]
    assert again
    assert again.ticket.spec.priority == 3
    made.restore(again)
    assert taken(made) == ["tk_1"]
