"""The troubleshooting page says of every cause what the program says."""

from __future__ import annotations

import pytest

from controlplane.domain.failure import CAUSES, Strategy
from tests.style.tracked import texts

FOLLOWS = {
    Strategy.RETRY: "again, three times",
    Strategy.ELSEWHERE: "elsewhere, three times",
    Strategy.MOVE: "elsewhere at once, three times",
    Strategy.WAIT: "wait, 23 times",
    Strategy.AGAIN: "again at once",
    Strategy.PARK: "parked",
    Strategy.NEVER: "dead letter",
}


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_documented_as_it_is(name: str) -> None:
    cause = CAUSES[name]
    row = f"| `{name}` | {cause.fault} | {FOLLOWS[cause.strategy]} | {cause.meaning} | {cause.advice} |"
    assert row in texts()["docs/troubleshooting.md"]
