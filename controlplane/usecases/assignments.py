"""All that a host is told of a ticket that it shall run."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.domain.agent import Agent
from controlplane.domain.project import Project
from controlplane.domain.refs import attempt_ref
from controlplane.domain.ticket import Attempt, Ticket, TicketType
from controlplane.ports import Assignment, Reader

DEFAULT_AGENT = "echo"


def agent_name(ticket: Ticket, project: Project | None) -> str:
    """`name` or `name@version` of the agent that runs the ticket."""
    return ticket.spec.agent or (project.spec.agent if project else "") or DEFAULT_AGENT


def agent_of(reader: Reader, ticket: Ticket) -> str:
    """`agent_name` of a ticket alone."""
    return agent_name(ticket, _project(reader, ticket) if not ticket.spec.agent else None)


def find_agent(reader: Reader, ticket: Ticket, project: Project | None) -> Agent | None:
    """The registered agent, newest version unless the ticket pins one."""
    name, _, version = agent_name(ticket, project).partition("@")
    return reader.agent(name, version)


def build(reader: Reader, ticket: Ticket, attempt: Attempt, project: Project | None, agent: Agent) -> Assignment:
    """The assignment of a leased ticket, with the accepted heads of its dependencies."""
    return Assignment(ticket, attempt, project, agent, _heads(reader, ticket))


def rebuild(reader: Reader, ticket: Ticket) -> Assignment | None:
    """The assignment of a ticket that is leased already; None when what it needs was taken away meanwhile."""
    attempt = reader.attempt(ticket.attempt_id)
    project = _project(reader, ticket)
    agent = find_agent(reader, ticket, project)
    return build(reader, ticket, attempt, project, agent) if attempt and agent else None


def _project(reader: Reader, ticket: Ticket) -> Project | None:
    return reader.project(ticket.tenant_id, ticket.spec.project_id) if ticket.spec.project_id else None


def _heads(reader: Reader, ticket: Ticket) -> tuple[tuple[str, str, str], ...]:
    found = {dependency.id: dependency for dependency in reader.tickets_by_id(ticket.spec.depends_on)}
    ordered = [found[ident] for ident in ticket.spec.depends_on if ident in found]
    # The pull request's own branch moves later, by the outbox; the attempt's was there before the ticket was accepted.
    return tuple(
        (leaf.key, attempt_ref(leaf.key, leaf.fence), leaf.head) for leaf in _leaves(reader, ordered) if leaf.head
    )


def _leaves(reader: Reader, tickets: Iterable[Ticket]) -> list[Ticket]:
    """The tickets, each epic replaced by its children: work is what they hold, not the epic."""
    leaves: list[Ticket] = []
    for ticket in tickets:
        leaves += _leaves(reader, reader.children(ticket.id)) if ticket.spec.type is TicketType.EPIC else [ticket]
    return leaves
