"""Turns a plan into leases: looks again at what the plan assumed, then commits all that still holds in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.domain.agent import Agent
from controlplane.domain.epoch import SETTING as EPOCH
from controlplane.domain.epoch import next_fence
from controlplane.domain.host import HostState
from controlplane.domain.ids import new_id
from controlplane.domain.lease import TIMES, LeaseTimes
from controlplane.domain.refs import attempt_ref, branch
from controlplane.domain.ticket import Attempt, AttemptState, Ticket, TicketState, TicketType
from controlplane.domain.transitions import Action, advance
from controlplane.ports import Assignment, Tx
from controlplane.scheduler.demand import demand_of, fits, limits, minus, times
from controlplane.scheduler.plan import Placement
from controlplane.scheduler.settings import read_limits
from controlplane.usecases.assignments import agent_name, build, find_agent
from controlplane.usecases.moves import commit_steps


@dataclass(frozen=True, slots=True)
class Applied:
    """`rejected` says by ticket id why a placement no longer held."""

    assignments: tuple[Assignment, ...]
    rejected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """What all leases of a batch have in common."""

    expires_at: float
    epoch: int


def apply(tx: Tx, placements: Sequence[Placement], now: float, lease: LeaseTimes = TIMES) -> Applied:
    """Leases tickets to hosts under a new fence; one unit of work. Nothing once the coordinator was stopped."""
    if read_limits(tx) is None:
        return Applied(())
    tickets = {ticket.id: ticket for ticket in tx.tickets_by_id([placement.ticket_id for placement in placements])}
    room, epoch = _Room(tx, {placement.host_id for placement in placements}), tx.setting(EPOCH) or 0
    leases: list[tuple[Ticket, Attempt]] = []
    rejected: dict[str, str] = {}
    for placement in placements:
        ticket = tickets.get(placement.ticket_id)
        if ticket is None or not _waits(ticket, now):
            rejected[placement.ticket_id] = "changed meanwhile"
        elif reason := room.refusal(placement.host_id, ticket):
            rejected[placement.ticket_id] = reason
        else:
            leases.append((ticket, _attempt(ticket, placement.host_id, now, epoch)))
    return _commit(tx, leases, rejected, now, Terms(now + lease.ttl_s, epoch))


def _commit(
    tx: Tx, leases: Sequence[tuple[Ticket, Attempt]], rejected: dict[str, str], now: float, terms: Terms
) -> Applied:
    projects = {each.id: each for each in tx.projects_by_id(sorted({ticket.spec.project_id for ticket, _ in leases}))}
    steps, assignments = [], []
    agents: dict[str, Agent | None] = {}
    for ticket, attempt in leases:
        project = projects.get(ticket.spec.project_id)
        name = agent_name(ticket, project)
        if name not in agents:
            agents[name] = find_agent(tx, ticket, project)
        if (agent := agents[name]) is None:
            rejected[ticket.id] = f"there is no agent {name}"
            continue
        step = advance(
            ticket,
            Action.ASSIGN,
            now,
            host_id=attempt.host_id,
            attempt_id=attempt.id,
            lease_expires_at=terms.expires_at,
            epoch=terms.epoch,
        )
        steps.append(step)
        assignments.append(build(tx, step.ticket, attempt, project, agent))
    tx.add_attempts([assignment.attempt for assignment in assignments])
    commit_steps(tx, steps, now)
    return Applied(tuple(assignments), rejected)


def _waits(ticket: Ticket, now: float) -> bool:
    placeable = ticket.spec.type is not TicketType.EPIC and ticket.state is TicketState.READY
    return placeable and ticket.not_before <= now


def _attempt(ticket: Ticket, host_id: str, now: float, epoch: int) -> Attempt:
    fence = next_fence(ticket.fence, epoch)
    return Attempt(
        id=new_id("at", now),
        ticket_id=ticket.id,
        number=ticket.attempts + 1,
        fence=fence,
        host_id=host_id,
        state=AttemptState.ASSIGNED,
        assigned_at=now,
        branch=branch(attempt_ref(ticket.key, fence)),
    )


class _Room:
    """What hosts have free by the store's own count, less what this batch takes."""

    def __init__(self, tx: Tx, host_ids: set[str]) -> None:
        self.hosts = {host.id: host for host in tx.hosts_by_id(sorted(host_ids))}
        self.free = {host.id: limits(host.capacity) for host in self.hosts.values()}
        for host_id, size, count in tx.leased_sizes(list(self.free)):
            self.free[host_id] = minus(self.free[host_id], times(demand_of(size), count))

    def refusal(self, host_id: str, ticket: Ticket) -> str:
        """Why the host cannot take the ticket; empty: it does, and its room shrinks."""
        host = self.hosts.get(host_id)
        if host is None or host.state is not HostState.ONLINE:
            return "its host takes no more work"
        demand = demand_of(ticket.spec.resources)
        if not fits(demand, self.free[host_id]):
            return "its host is full"
        self.free[host_id] = minus(self.free[host_id], demand)
        return ""
