"""Projects and pull requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from peewee import ModelSelect

from controlplane.domain.project import CompleteOn, Project, ProjectSpec
from controlplane.domain.pullrequest import PullRequest, PullRequestState
from controlplane.ports import Page
from controlplane.stores import statements
from controlplane.stores.session import Row
from controlplane.stores.tables import ProjectTable, PullRequestTable
from controlplane.stores.unit import Unit, pack, unpack

INSERT_PROJECT = statements.insert(ProjectTable)
SELECT_PROJECT = statements.select(ProjectTable, "tenant_id = ? AND id = ?")
SELECT_PROJECTS = statements.select(ProjectTable, "")
SELECT_REPOSITORY = statements.select(ProjectTable, "tenant_id = ? AND repository = ?", "ORDER BY id LIMIT 1")
UPDATE_PROJECT = statements.update(ProjectTable, ("repository", "spec"), ("id",))
DELETE_PROJECT = "DELETE FROM project WHERE tenant_id = ? AND id = ?"
PULL_REQUEST = tuple(name for name in statements.columns(PullRequestTable) if name != "tenant_id")
# The tenant is that of the ticket, so that nothing can file a pull request under another.
INSERT_PULL_REQUEST = (
    f"INSERT INTO pull_request ({', '.join(PULL_REQUEST)}, tenant_id)"  # noqa: S608 - names of our own columns
    f" SELECT {', '.join('?' * len(PULL_REQUEST))}, ticket.tenant_id FROM ticket WHERE ticket.id = ?"
)
SELECT_PULL_REQUEST = f"SELECT {', '.join(PULL_REQUEST)} FROM pull_request WHERE"  # noqa: S608 - the same names
UPDATE_PULL_REQUEST = statements.update(PullRequestTable, PULL_REQUEST[1:], ("id",))


class ProjectReads(Unit):
    def project(self, tenant_id: str, project_id: str) -> Project | None:
        return self._project(SELECT_PROJECT, tenant_id, project_id)

    def project_by_repository(self, tenant_id: str, repository: str) -> Project | None:
        return self._project(SELECT_REPOSITORY, tenant_id, repository)

    def projects(self, tenant_id: str, page: Page) -> tuple[list[Project], str]:
        query = ProjectTable.select(ProjectTable, ProjectTable.id.alias("position"))
        query = query.where(ProjectTable.tenant_id == tenant_id)
        return self.page(query, ProjectTable.id, ("projects", tenant_id), page, to_project)

    def projects_by_id(self, ids: Sequence[str]) -> list[Project]:
        return [
            to_project(row)
            for chunk in statements.chunks(ids)
            for row in self.session.rows(f"{SELECT_PROJECTS} {statements.within('id', len(chunk))}", chunk)
        ]

    def pull_request(self, tenant_id: str, ident: str) -> PullRequest | None:
        return self._pull_request("tenant_id = ? AND (id = ? OR ticket_key = ?)", tenant_id, ident, ident)

    def pull_request_of(self, ticket_id: str) -> PullRequest | None:
        return self._pull_request("ticket_id = ?", ticket_id)

    def pull_requests(
        self, tenant_id: str, project_id: str, state: PullRequestState | None, page: Page
    ) -> tuple[list[PullRequest], str]:
        query = pull_request_query(PullRequestTable.id.alias("position"))
        query = query.where(PullRequestTable.tenant_id == tenant_id)
        if project_id:
            query = query.where(PullRequestTable.project_id == project_id)
        if state:
            query = query.where(PullRequestTable.state == state.value)
        scope = ("pull_requests", tenant_id, project_id, state)
        return self.page(query, PullRequestTable.id, scope, page, to_pull_request)

    def _project(self, sql: str, *params: str) -> Project | None:
        found = self.session.rows(sql, params)
        return to_project(found[0]) if found else None

    def _pull_request(self, where: str, *params: str) -> PullRequest | None:
        found = self.session.rows(f"{SELECT_PULL_REQUEST} {where} LIMIT 1", params)
        return to_pull_request(found[0]) if found else None


class ProjectWrites(ProjectReads):
    def add_project(self, project: Project) -> None:
        row = (project.id, project.tenant_id, project.spec.repository, pack(asdict(project.spec)), project.created_at)
        self.session.change(INSERT_PROJECT, (row,))
        self.topics.add("projects")

    def save_project(self, project: Project) -> None:
        self.session.change(UPDATE_PROJECT, ((project.spec.repository, pack(asdict(project.spec)), project.id),))
        self.topics.add("projects")

    def remove_project(self, project: Project) -> None:
        self.session.change(DELETE_PROJECT, ((project.tenant_id, project.id),))
        self.topics.add("projects")

    def add_pull_request(self, pull_request: PullRequest) -> None:
        self.session.change(INSERT_PULL_REQUEST, ((*pull_request_row(pull_request), pull_request.ticket_id),))
        self.topics.add("pull_requests")

    def save_pull_request(self, pull_request: PullRequest) -> None:
        self.session.change(UPDATE_PULL_REQUEST, ((*pull_request_row(pull_request)[1:], pull_request.id),))
        self.topics.add("pull_requests")


def to_project(row: Row) -> Project:
    ident, tenant_id, _repository, spec, created_at = row
    data = unpack(spec)
    typed = ProjectSpec(**{**data, "complete_on": CompleteOn(data["complete_on"])})
    return Project(id=ident, tenant_id=tenant_id, spec=typed, created_at=created_at)


def pull_request_query(*more: Any) -> ModelSelect[Any]:
    return PullRequestTable.select(*(getattr(PullRequestTable, name) for name in PULL_REQUEST), *more)


def pull_request_row(pull_request: PullRequest) -> Row:
    data = asdict(pull_request)
    return tuple(data[name] for name in PULL_REQUEST)


def to_pull_request(row: Row) -> PullRequest:
    named = dict(zip(PULL_REQUEST, row, strict=True))
    return PullRequest(**{**named, "state": PullRequestState(named["state"])})
