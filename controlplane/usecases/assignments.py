"""All that a host is told of a ticket that it shall run."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.domain.project import Project
from controlplane.domain.refs import attempt_ref
from controlplane.domain.ticket import Attempt, Ticket, TicketType
from controlplane.ports import Assignment, Reader, Work
from controlplane.usecases import agents, workflows

DEFAULT_AGENT = "echo"


def runner_name(ticket: Ticket, project: Project | None) -> str:
    """What runs the ticket, as `agent NAME` or `workflow NAME`, each with its version if one is pinned."""
    if ticket.spec.workflow:
        return f"workflow {ticket.spec.workflow}"
    return f"agent {ticket.spec.agent or (project.spec.agent if project else '') or DEFAULT_AGENT}"


def agent_of(reader: Reader, ticket: Ticket) -> str:
    """What failures name it by: its agent, or `workflow NAME`."""
    named = ticket.spec.agent or ticket.spec.workflow
    return runner_name(ticket, None if named else _project(reader, ticket)).removeprefix("agent ")


def find_work(reader: Reader, ticket: Ticket, project: Project | None) -> Work | str:
    """What is registered under the runner's name, newest version unless one is pinned; or why it cannot run."""
    kind, _, name = (ref := runner_name(ticket, project)).partition(" ")
    if kind == "workflow":
        workflow = workflows.find(reader, ticket.tenant_id, name)
        return workflows.work_of(reader, workflow, ticket.spec.input) if workflow else f"there is no {ref}"
    agent = agents.find(reader, ticket.tenant_id, name)
    return Work(agent.image, agent) if agent else f"there is no {ref}"


def build(reader: Reader, ticket: Ticket, attempt: Attempt, project: Project | None, work: Work) -> Assignment:
    """The assignment of a leased ticket, with the accepted heads of its dependencies."""
    return Assignment(ticket, attempt, project, work, _heads(reader, ticket))


def rebuild(reader: Reader, ticket: Ticket) -> Assignment | None:
    """The assignment of a ticket that is leased already; None when what it needs was taken away meanwhile."""
    attempt = reader.attempt(ticket.attempt_id)
    project = _project(reader, ticket)
    work = find_work(reader, ticket, project)
    return build(reader, ticket, attempt, project, work) if attempt and isinstance(work, Work) else None


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
