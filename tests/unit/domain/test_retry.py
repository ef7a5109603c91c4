from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.retry import FAULTS, Fault, count, decide, known_cause


def test_faults_of_hosts_leave_the_tickets_own_tries_alone() -> None:
    verdict = decide(("vm_lost", "host_lost", "vm_lost"), "agent_failed")
    assert (verdict.retry, verdict.delay_s) == (True, 1.0)


def test_hosts_cannot_lose_a_ticket_for_ever() -> None:
    assert not decide(("vm_lost", "host_lost", "upstream_failed"), "vm_lost").retry


def test_a_violation_is_not_tried_again() -> None:
    verdict = decide((), "violation")
    assert (verdict.retry, verdict.causes) == (False, ("violation",))


def test_a_host_that_stops_in_order_costs_no_try() -> None:
    verdict = decide(("agent_failed",) * 3, "host_stopping")
    assert (verdict.retry, verdict.delay_s, verdict.causes) == (True, 0.0, ("agent_failed",) * 3)


@pytest.mark.parametrize(
    ("given_cause", "cause"), [("timeout", "timeout"), ("made up", "host_failed"), ("", "host_failed")]
)
def test_a_cause_that_a_host_made_up_counts_against_hosts(given_cause: str, cause: str) -> None:
    assert known_cause(given_cause) == cause


@given(st.lists(st.sampled_from(sorted(FAULTS)), max_size=40))
def test_whatever_happens_a_ticket_gets_at_most_seven_counted_attempts(ends: list[str]) -> None:
    causes: tuple[str, ...] = ()
    for end in ends:
        verdict = decide(causes, end)
        causes = verdict.causes
        assert len(causes) <= 7
        assert count(causes, Fault.TICKET) <= 4
        assert count(causes, Fault.HOST) <= 4
        if not verdict.retry:
            break
