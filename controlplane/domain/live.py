"""What runs now: one live attempt of a ticket."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controlplane.domain.ticket import LEASED, Attempt, Ticket, TicketState
from controlplane.domain.vm import Vm, VmState


class AgentState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class LiveAgent:
    """`agent` is its name, or `workflow NAME`; `host_name` that of the worker where a program holds the ticket."""

    ticket: Ticket
    attempt: Attempt
    state: AgentState
    agent: str
    host_name: str
    progress: str
    last_activity_at: float


def is_live(ticket: Ticket) -> bool:
    """Whether an attempt of it holds a lease; an epic runs without one."""
    return ticket.state in LEASED and bool(ticket.host_id)


def state_of(ticket: Ticket, vm: Vm | None) -> AgentState:
    if ticket.state is TicketState.WAITING:
        return AgentState.WAITING
    if vm is not None and vm.state is VmState.PAUSED:
        return AgentState.PAUSED
    return AgentState.STARTING if ticket.state is TicketState.ASSIGNED else AgentState.RUNNING
