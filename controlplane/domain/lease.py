"""Leases: a host holds a ticket while it renews. The lease is only liveness; the fence is safety."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from controlplane.domain.host import Host
from controlplane.domain.retry import TIMES as RETRY_TIMES
from controlplane.domain.retry import RetryTimes
from controlplane.domain.ticket import LEASED, Ticket

# Below this many hosts one of them is half of the fleet, and its death must not hold everything up.
BRAKE_HOSTS: Final = 3
BRAKE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """One knob: everything follows from the TTL, in seconds; apart from when a ticket may be leased again.

    A host gives its VMs up at two thirds of it, well before anybody else may have the ticket, and may lose several
    renewals before that.
    """

    ttl_s: float = 45.0
    retry: RetryTimes = RETRY_TIMES

    @property
    def grace_s(self) -> float:
        return self.ttl_s / 3

    @property
    def renew_every_s(self) -> float:
        return self.ttl_s / 9

    @property
    def sweep_s(self) -> float:
        """How often is looked for leases that are over: what is late by this is late for the ticket."""
        return self.ttl_s / 9

    @property
    def self_fence_s(self) -> float:
        return self.ttl_s * 2 / 3


TIMES: Final = LeaseTimes()


@dataclass(frozen=True, slots=True)
class LeaseRef:
    """How a host names a lease that it holds."""

    attempt_id: str
    ticket_id: str
    fence: int


def holds(ticket: Ticket | None, host_id: str, ref: LeaseRef) -> bool:
    """Whether this host has this ticket under exactly this attempt and fence, now."""
    return (
        ticket is not None
        and ticket.state in LEASED
        and (ticket.host_id, ticket.attempt_id, ticket.fence) == (host_id, ref.attempt_id, ref.fence)
    )


def expired(
    leased: Iterable[Ticket], now: float, started_at: float, silent: Mapping[str, bool], times: LeaseTimes = TIMES
) -> list[Ticket]:
    """Tickets whose lease is over for good: past its expiry and the grace.

    `started_at` is when this control plane came up: hosts get one TTL to come back to it. `silent` is that of
    `silent_hosts`: while half of three or more are, nothing expires.
    """
    if now < started_at + times.ttl_s or braked(silent):
        return []
    return [ticket for ticket in leased if over(ticket, now, times)]


def over(ticket: Ticket, now: float, times: LeaseTimes = TIMES) -> bool:
    """Whether what is leased may be given to another host."""
    return ticket.lease_expires_at is not None and now >= ticket.lease_expires_at + times.grace_s


def braked(silent: Mapping[str, bool]) -> bool:
    """Whether so many hosts are gone together that the fault is more likely ours or the network's."""
    return len(silent) >= BRAKE_HOSTS and 2 * sum(silent.values()) >= len(silent)


def silent_hosts(
    hosts: Iterable[Host], connected: Collection[str], leased: Iterable[Ticket], now: float, started_at: float
) -> dict[str, bool]:
    """Which hosts count for the brake, and whether each is silent: detached, or late with every lease it has.

    One that fell silent BRAKE_S ago no longer counts, so that half a fleet that never comes back holds nothing up.
    """
    latest: dict[str, float] = {}
    for ticket in leased:
        latest[ticket.host_id] = max(latest.get(ticket.host_id, 0.0), ticket.lease_expires_at or 0.0)
    found = {}
    for host in hosts:
        quiet = host.id not in connected or latest.get(host.id, math.inf) <= now
        since = max(host.last_seen_at, latest.get(host.id, 0.0), started_at)
        if not quiet or now < since + BRAKE_S:
            found[host.id] = quiet
    return found


def silent(host: Host, connected: Collection[str], now: float, times: LeaseTimes = TIMES) -> bool:
    """Whether it is not attached, or renewed nothing for so long that it has paused its VMs."""
    return host.id not in connected or now - host.last_seen_at > times.self_fence_s
