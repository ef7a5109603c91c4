from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.failure import CAUSES, GUEST_CAUSES, Fault, Strategy, cause_of, guest_cause
from controlplane.domain.retry import LIMITS, TIMES, RetryTimes, count, decide, jitter

NAMED = {
    "host_lost": (Fault.HOST, Strategy.MOVE),
    "vm_lost": (Fault.HOST, Strategy.ELSEWHERE),
    "unhealthy": (Fault.HOST, Strategy.ELSEWHERE),
    "agent_crashed": (Fault.TICKET, Strategy.RETRY),
    "agent_gave_up": (Fault.TICKET, Strategy.NEVER),
    "checks_refused": (Fault.TICKET, Strategy.RETRY),
    "git_rate_limited": (Fault.UPSTREAM, Strategy.WAIT),
    "git_down": (Fault.UPSTREAM, Strategy.WAIT),
    "upstream_rate_limited": (Fault.UPSTREAM, Strategy.WAIT),
    "upstream_down": (Fault.UPSTREAM, Strategy.WAIT),
    "budget": (Fault.NOBODY, Strategy.PARK),
    "timeout": (Fault.TICKET, Strategy.RETRY),
    "stalled": (Fault.TICKET, Strategy.RETRY),
    "bad_ticket": (Fault.TICKET, Strategy.NEVER),
}


@pytest.mark.parametrize("name", NAMED)
def test_the_taxonomy_is_what_was_promised(name: str) -> None:
    assert (CAUSES[name].fault, CAUSES[name].strategy) == NAMED[name]


@pytest.mark.parametrize("name", CAUSES)
def test_every_cause_says_what_it_means_and_what_to_do(name: str) -> None:
    cause = CAUSES[name]
    assert cause.name == name
    assert all(text and text[0].isupper() and text.endswith(".") for text in (cause.meaning, cause.advice))


@pytest.mark.parametrize(("faults", "delay"), [(0, 1.0), (1, 5.0), (2, 30.0)])
def test_a_ticket_is_tried_again_after_1_5_and_30_seconds(faults: int, delay: float) -> None:
    verdict = decide(("timeout",) * faults, "agent_crashed")
    assert (verdict.delay_s, verdict.dead_letter) == (delay, False)


def test_the_fourth_fault_of_a_ticket_is_its_last() -> None:
    verdict = decide(("timeout", "tests_failed", "stalled"), "agent_crashed")
    assert (verdict.delay_s, verdict.dead_letter) == (None, True)


def test_faults_of_hosts_leave_the_tickets_own_tries_alone() -> None:
    assert decide(("vm_lost", "host_lost", "vm_lost"), "agent_crashed").delay_s == 1.0


def test_hosts_cannot_lose_a_ticket_for_ever() -> None:
    assert decide(("vm_lost", "host_lost", "unhealthy"), "vm_lost").dead_letter


def test_the_first_loss_of_a_host_costs_no_delay_on_top_of_its_lease_and_the_next_ones_do() -> None:
    delays = [decide(("host_lost",) * faults, "host_lost", TIMES, 1.0).delay_s for faults in range(4)]
    assert delays == [0.0, 6.25, 37.5, None]
    assert decide(("vm_lost",), "host_lost").delay_s == 5.0
    assert decide((), "vm_lost").delay_s == 1.0
    assert cause_of("host_lost").leaves
    assert cause_of("host_lost").is_loss


def test_waits_for_an_upstream_grow_cost_no_try_and_end() -> None:
    causes: tuple[str, ...] = ()
    waits = []
    while (verdict := decide(causes, "upstream_down")).delay_s is not None:
        causes = verdict.causes
        waits.append(verdict.delay_s)
    assert waits[:6] == [30, 60, 120, 240, 480, 600]
    assert waits[-1] == 600
    assert verdict.dead_letter
    assert 3 * 3600 < sum(waits) < 4 * 3600
    assert decide(causes, "agent_crashed").delay_s == 1.0


@pytest.mark.parametrize("cause", ["violation", "bad_ticket", "agent_gave_up"])
def test_what_would_only_happen_again_is_not_tried_again(cause: str) -> None:
    verdict = decide((), cause)
    assert (verdict.delay_s, verdict.dead_letter, verdict.causes) == (None, True, (cause,))


def test_a_used_up_budget_parks_the_ticket() -> None:
    verdict = decide(("timeout",), "budget")
    assert (verdict.delay_s, verdict.dead_letter, verdict.causes) == (None, False, ("timeout", "budget"))


def test_a_host_that_stops_in_order_costs_no_try_but_cannot_do_so_for_ever() -> None:
    verdict = decide(("agent_crashed",) * 3, "host_stopping")
    assert verdict.delay_s == 0.0
    assert decide(verdict.causes, "vm_lost").delay_s == 1.0
    assert decide(("host_stopping",) * 29, "host_stopping").dead_letter


def test_jitter_only_lengthens_and_is_the_same_for_the_same_attempt() -> None:
    assert decide((), "timeout", TIMES, 1.0).delay_s == 1.25
    shares = [jitter(f"tk_{number}", 3) for number in range(1000)]
    assert all(0 <= share < 1 for share in shares)
    assert 0.45 < sum(shares) / len(shares) < 0.55
    assert jitter("tk_1", 3) == shares[1] != jitter("tk_1", 4)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("timeout", "timeout"),
        ("made up", "host_failed"),
        ("", "host_failed"),
        ("agent_failed", "agent_crashed"),
        ("upstream_failed", "upstream_down"),
    ],
)
def test_old_names_are_known_and_a_cause_that_a_host_made_up_counts_against_hosts(name: str, cause: str) -> None:
    assert cause_of(name).name == cause


def test_old_names_in_stored_causes_still_count() -> None:
    assert count(("agent_failed", "push_failed", "upstream_failed"), Fault.TICKET) == 2
    assert decide(("agent_failed",) * 3, "agent_crashed").dead_letter


def test_a_guest_cannot_blame_others() -> None:
    assert not [name for name in GUEST_CAUSES if CAUSES[name].fault in {Fault.HOST, Fault.UPSTREAM}]
    assert guest_cause("vm_lost", "agent") == "agent_crashed"
    assert guest_cause("", "push") == "push_failed"


def test_fewer_delays_than_retries_repeat_the_last() -> None:
    assert decide(("timeout",) * 2, "timeout", RetryTimes((0.5,))).delay_s == 0.5


@given(st.lists(st.sampled_from(sorted(CAUSES)), max_size=120))
def test_whatever_happens_every_count_is_bounded(ends: list[str]) -> None:
    causes: tuple[str, ...] = ()
    for end in ends:
        verdict = decide(causes, end)
        causes = verdict.causes
        assert all(count(causes, fault) <= limit for fault, limit in LIMITS.items())
        if verdict.delay_s is None:
            break
