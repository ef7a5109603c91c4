from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.lease import BRAKE_S, TIMES, LeaseRef, LeaseTimes, braked, expired, holds, silent_hosts
from controlplane.domain.ticket import Ticket, TicketState
from tests.fakes.seeds import NOW, a_host, a_ticket

LONG_AGO = NOW - 10_000


def leased(number: int = 1, expires_at: float = NOW, **fields: Any) -> Ticket:
    plain = {"fence": 2, "host_id": "hs_1", "attempt_id": "at_1", "lease_expires_at": expires_at}
    return a_ticket(number, TicketState.RUNNING, **{**plain, **fields})


@pytest.mark.parametrize(
    ("late", "gone"), [(0.0, False), (TIMES.grace_s - 0.001, False), (TIMES.grace_s, True), (3600.0, True)]
)
def test_a_lease_is_over_after_ttl_and_grace(late: float, gone: bool) -> None:  # noqa: FBT001 - a table
    found = expired([leased()], NOW + late, LONG_AGO, {"hs_1": True})
    assert bool(found) is gone


def test_nothing_expires_in_the_first_ttl_after_a_start() -> None:
    tickets = [leased(expires_at=LONG_AGO)]
    assert expired(tickets, NOW + TIMES.ttl_s - 0.001, NOW, {}) == []
    assert expired(tickets, NOW + TIMES.ttl_s, NOW, {}) == tickets


@pytest.mark.parametrize(
    ("silent", "brake"),
    [([True], False), ([True, True], False), ([True, False, False], False), ([True, True, False, False], True)],
)
def test_half_of_three_or_more_hosts_gone_together_stop_expiry(silent: list[bool], brake: bool) -> None:  # noqa: FBT001
    hosts = {f"hs_{number}": gone for number, gone in enumerate(silent)}
    assert braked(hosts) is brake
    assert bool(expired([leased()], NOW + 3600, LONG_AGO, hosts)) is not brake


def test_hosts_are_silent_when_detached_or_late_with_all_their_leases() -> None:
    hosts = [a_host(number, last_seen_at=NOW) for number in range(1, 5)]
    tickets = [
        leased(1, NOW - 1, host_id="hs_1"),
        leased(2, NOW - 1, host_id="hs_2"),
        leased(3, NOW + 1, host_id="hs_2"),
        leased(4, NOW + 1, host_id="hs_4"),
    ]
    found = silent_hosts(hosts, {"hs_1", "hs_2", "hs_3"}, tickets, NOW, LONG_AGO)
    assert found == {"hs_1": True, "hs_2": False, "hs_3": False, "hs_4": True}


def test_hosts_that_never_come_back_stop_counting() -> None:
    hosts = [a_host(number, last_seen_at=NOW - BRAKE_S * (number > 2)) for number in range(1, 5)]
    tickets = [leased(number, NOW - BRAKE_S, host_id=f"hs_{number}") for number in (3, 4)]
    assert silent_hosts(hosts, {"hs_1", "hs_2"}, tickets, NOW - 1, LONG_AGO)["hs_3"] is True
    assert silent_hosts(hosts, {"hs_1", "hs_2"}, tickets, NOW, LONG_AGO) == {"hs_1": False, "hs_2": False}


def test_a_restart_of_ours_counts_as_the_moment_they_fell_silent() -> None:
    hosts = [a_host(number, last_seen_at=LONG_AGO) for number in range(1, 4)]
    assert braked(silent_hosts(hosts, (), [], NOW + 60, NOW))


@pytest.mark.parametrize(
    ("host", "ref", "expected"),
    [
        ("hs_1", LeaseRef("at_1", "tk_1", 2), True),
        ("hs_2", LeaseRef("at_1", "tk_1", 2), False),
        ("hs_1", LeaseRef("at_0", "tk_1", 2), False),
        ("hs_1", LeaseRef("at_1", "tk_1", 1), False),
        ("hs_1", LeaseRef("at_1", "tk_1", 3), False),
    ],
)
def test_a_host_holds_exactly_what_is_leased_to_it(host: str, ref: LeaseRef, expected: bool) -> None:  # noqa: FBT001
    assert holds(leased(), host, ref) is expected


def test_nobody_holds_a_ticket_that_is_not_leased() -> None:
    done = leased()
    assert not holds(None, "hs_1", LeaseRef("at_1", "tk_1", 2))
    for state in set(TicketState) - {TicketState.ASSIGNED, TicketState.RUNNING, TicketState.WAITING}:
        other = a_ticket(1, state, fence=2, host_id="hs_1", attempt_id="at_1")
        assert not holds(other, done.host_id, LeaseRef("at_1", "tk_1", 2))


def test_the_times_follow_the_ttl() -> None:
    assert (TIMES.ttl_s, TIMES.grace_s, TIMES.renew_every_s, TIMES.self_fence_s) == (45, 15, 5, 30)
    assert LeaseTimes(9.0).self_fence_s == 6.0


def test_short_times_end_a_lease_sooner() -> None:
    assert expired([leased()], NOW + 1.0, LONG_AGO, {"hs_1": True}, LeaseTimes(3.0)) == [leased()]
