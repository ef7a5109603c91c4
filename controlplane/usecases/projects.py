"""Projects: a repository and what its tickets take from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from controlplane.domain.call import Call
from controlplane.domain.ids import new_id
from controlplane.domain.mapping import Runner
from controlplane.domain.project import Project, ProjectSpec
from controlplane.domain.repository import branch_fault, repository_fault
from controlplane.domain.ticket import TERMINAL, TicketState
from controlplane.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, Violation
from controlplane.ports import Page, Reader, TicketFilter, Tx
from controlplane.usecases.mapping import runner_faults
from controlplane.usecases.mask import merge

UPDATABLE: Final = (
    "name",
    "default_branch",
    "agent",
    "workflow",
    "test_command",
    "max_concurrency",
    "complete_on",
    "stall_timeout_s",
)
NAMED: Final = 5


def create_project(tx: Tx, call: Call, spec: ProjectSpec, *, allow_file: bool = True) -> Project:
    """InvalidInput for a repository, branch or runner that cannot be, AlreadyExists for a repository that has one."""
    _check(tx, call, spec, allow_file=allow_file)
    if spec.repository and (other := tx.project_by_repository(call.principal.tenant_id, spec.repository)):
        raise AlreadyExists(f"project {other.id} ({other.spec.name}) has this repository already")
    project = Project(new_id("pj", call.now), call.principal.tenant_id, spec, call.now)
    tx.add_project(project)
    return project


def list_projects(reader: Reader, call: Call, page: Page) -> tuple[list[Project], str]:
    """Oldest first, with the token of the next page, if any."""
    return reader.projects(call.principal.tenant_id, page)


def get_project(reader: Reader, call: Call, ident: str) -> Project:
    if project := reader.project(call.principal.tenant_id, ident):
        return project
    raise NotFound(f"there is no project {ident}")


def update_project(tx: Tx, call: Call, ident: str, spec: ProjectSpec, paths: Sequence[str]) -> Project:
    """Take the named fields from `spec`. The repository is fixed: it holds the branches of the project's tickets."""
    project = get_project(tx, call, ident)
    after = replace(project, spec=merge(project.spec, spec, paths, UPDATABLE))
    _check(tx, call, after.spec, allow_file=True)
    tx.save_project(after)
    return after


def delete_project(tx: Tx, call: Call, ident: str) -> None:
    """FailedPrecondition while tickets of it are not over."""
    project = get_project(tx, call, ident)
    where = TicketFilter(tuple(set(TicketState) - TERMINAL), project.id)
    if left := tx.tickets(call.principal.tenant_id, where, Page(NAMED))[0]:
        keys = ", ".join(ticket.key for ticket in left)
        raise FailedPrecondition(f"project {project.spec.name} has work: {keys}", reason="project_in_use")
    tx.remove_project(project)


def _check(reader: Reader, call: Call, spec: ProjectSpec, *, allow_file: bool) -> None:
    faults = {
        "repository": repository_fault(spec.repository, allow_file=allow_file) if spec.repository else "",
        "default_branch": branch_fault(spec.default_branch) if spec.default_branch else "",
    }
    named = dict(runner_faults(reader, call.principal.tenant_id, Runner(spec.agent, spec.workflow)))
    faults |= {field.removeprefix("/"): text for field, text in named.items()}
    if found := tuple(Violation(f"/spec/{name}", text) for name, text in faults.items() if text):
        raise InvalidInput(f"{found[0].field} {found[0].description}", violations=found)
