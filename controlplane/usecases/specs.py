"""Spec cards: an approved card becomes an epic with one ticket per feature."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controlplane.domain.call import Call
from controlplane.domain.project import Project, ProjectSpec
from controlplane.domain.ticket import Ticket, TicketSpec
from controlplane.errors import InvalidInput, Violation
from controlplane.planning.card import plan_card
from controlplane.ports import Reader, Tx
from controlplane.usecases import filing
from controlplane.usecases.agents import find
from controlplane.usecases.projects import create_project, get_project


@dataclass(frozen=True, slots=True)
class Imported:
    """After `validate_only` the tickets have no keys, and a project that is yet to be made has no id."""

    epic: Ticket
    tickets: tuple[Ticket, ...]
    project_id: str


def import_spec(
    tx: Tx,
    call: Call,
    card: object,
    *,
    project_id: str = "",
    repository: str = "",
    agent: str = "",
    hold: bool = False,
    validate_only: bool = False,
    allow_file: bool = True,
) -> Imported:
    """File everything or nothing. InvalidInput points into the card; NotFound for a project that does not exist."""
    wanted = plan_card(card, repository=repository, agent=agent, allow_file=allow_file)
    if wanted.project.agent and not find(tx, call.principal.tenant_id, wanted.project.agent):
        message = f"there is no agent {wanted.project.agent}"
        raise InvalidInput(f"/agent: {message}", violations=(Violation("/agent", message),))
    project = _project(tx, call, project_id, wanted.project)
    if project is None and wanted.project.repository and not validate_only:
        project = create_project(tx, call, wanted.project, allow_file=allow_file)
    elif project and not validate_only:
        _follow(tx, project, wanted.project)
    ident = project.id if project else ""
    specs = [_filed(spec, ident, wanted.project.agent) for spec in (wanted.epic, *wanted.features)]
    pointers = ["", *(f"/features/{index}" for index in range(len(wanted.features)))]
    planned = filing.plan(tx, call, specs, pointers)
    epic, *tickets = planned if validate_only else filing.file(tx, call, planned, hold=hold)
    return Imported(epic, tuple(tickets), ident)


def _project(reader: Reader, call: Call, project_id: str, card: ProjectSpec) -> Project | None:
    """Return the project that is named, or the one that has the card's repository."""
    if not project_id:
        return reader.project_by_repository(call.principal.tenant_id, card.repository) if card.repository else None
    project = get_project(reader, call, project_id)
    if card.repository and card.repository != project.spec.repository:
        message = f"project {project_id} has another repository, {project.spec.repository or 'none'}"
        raise InvalidInput(f"/repository: {message}", violations=(Violation("/repository", message),))
    return project


def _follow(tx: Tx, project: Project, card: ProjectSpec) -> None:
    """Let the newest card say how the project is built and tested."""
    spec = replace(
        project.spec,
        default_branch=card.default_branch or project.spec.default_branch,
        test_command=card.test_command or project.spec.test_command,
    )
    if spec != project.spec:
        tx.save_project(replace(project, spec=spec))


def _filed(spec: TicketSpec, project_id: str, agent: str) -> TicketSpec:
    return replace(spec, project_id=project_id, agent=spec.agent or ("" if spec.workflow else agent))
