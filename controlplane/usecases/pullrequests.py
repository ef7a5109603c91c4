"""Pull requests: reading them, and merging or closing them for real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from controlplane.domain.call import Call
from controlplane.domain.event import NewEvent
from controlplane.domain.project import Project
from controlplane.domain.pullrequest import PullRequest, PullRequestState
from controlplane.domain.ticket import Ticket
from controlplane.domain.transitions import Action, advance, allows
from controlplane.errors import FailedPrecondition, NotFound
from controlplane.ports import Page, Reader, Tx
from controlplane.usecases.moves import commit_steps
from controlplane.usecases.services import Services

MAX_DIFF: Final = 1024 * 1024
MAX_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Filed:
    """A pull request with the ticket and the project that it belongs to."""

    pull_request: PullRequest
    ticket: Ticket
    project: Project


def list_pull_requests(
    reader: Reader, call: Call, project_id: str, state: PullRequestState | None, page: Page
) -> tuple[list[PullRequest], str]:
    """Oldest first, with the token of the next page, if any; of all projects when none is named."""
    return reader.pull_requests(call.principal.tenant_id, project_id, state, page)


def get_pull_request(reader: Reader, call: Call, ident: str) -> PullRequest:
    """By its id or its ticket's key."""
    if found := reader.pull_request(call.principal.tenant_id, ident):
        return found
    raise NotFound(f"there is no pull request {ident}")


async def diff(services: Services, call: Call, ident: str) -> tuple[bytes, bool]:
    """Return the unified diff and whether it was cut at 1 MiB."""
    filed = await services.store.read(lambda reader: _filed(reader, call, ident))
    pull_request = filed.pull_request
    return await services.forge.diff(filed.project, pull_request.base, pull_request.head, MAX_DIFF)


async def merge(services: Services, call: Call, ident: str) -> PullRequest:
    """Merge into the base branch; the ticket is completed by it. Merging again changes nothing.

    FailedPrecondition names the paths that conflict, or what has to happen first.
    """
    filed = await services.store.read(lambda reader: _mergeable(reader, call, ident))
    pull_request = filed.pull_request
    if pull_request.state is PullRequestState.MERGED:
        return pull_request
    message = f"Merge {pull_request.ticket_key}: {pull_request.title}\n\nPull request #{pull_request.number}\n"
    result = await services.forge.merge(filed.project, pull_request, message)
    if result.conflicts:
        raise conflict(pull_request, result.conflicts)
    return await services.store.write(lambda tx: _record_merge(tx, call, ident, result.commit))


def close(tx: Tx, call: Call, ident: str) -> PullRequest:
    """Close it unmerged: its ticket has failed, and what depends on that is blocked. Closing again changes nothing."""
    filed = _filed(tx, call, ident)
    pull_request = filed.pull_request
    if pull_request.state is PullRequestState.CLOSED:
        return pull_request
    if pull_request.state is PullRequestState.MERGED:
        raise FailedPrecondition(f"pull request #{pull_request.number} is merged", reason="pull_request_merged")
    closed = replace(pull_request, state=PullRequestState.CLOSED)
    _record(tx, call, filed, closed, Action.CLOSE)
    return closed


def conflict(pull_request: PullRequest, paths: Sequence[str]) -> FailedPrecondition:
    more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
    where = f"{', '.join(paths[:MAX_NAMED])}{more}"
    return FailedPrecondition(
        f"{pull_request.ticket_key} conflicts with {pull_request.base_branch} in {where}", reason="merge_conflict"
    )


def _filed(reader: Reader, call: Call, ident: str) -> Filed:
    pull_request = get_pull_request(reader, call, ident)
    ticket = reader.ticket(call.principal.tenant_id, pull_request.ticket_id)
    project = reader.project(call.principal.tenant_id, pull_request.project_id)
    if ticket is None or project is None:
        raise NotFound(f"the ticket or the project of pull request {ident} is gone")
    return Filed(pull_request, ticket, project)


def _mergeable(reader: Reader, call: Call, ident: str) -> Filed:
    filed = _filed(reader, call, ident)
    pull_request, ticket = filed.pull_request, filed.ticket
    if pull_request.state is PullRequestState.MERGED:
        return filed
    if pull_request.state is PullRequestState.CLOSED:
        raise FailedPrecondition(f"pull request #{pull_request.number} is closed", reason="pull_request_closed")
    if not allows(ticket, Action.MERGE):
        raise FailedPrecondition(f"{ticket.key} is {ticket.state}, not in review", reason="not_in_review")
    if first := _unmerged_below(reader, ticket):
        raise FailedPrecondition(
            f"{ticket.key} builds on {', '.join(first)}, which must be merged before", reason="dependency_not_merged"
        )
    return filed


def _unmerged_below(reader: Reader, ticket: Ticket) -> list[str]:
    """Return keys of dependencies whose work is in this pull request and not in their base branch."""
    worked = [one for one in reader.tickets_by_id(ticket.spec.depends_on) if one.head]
    found = [(one.key, reader.pull_request_of(one.id)) for one in worked]
    return [key for key, one in found if one is None or one.state is not PullRequestState.MERGED]


def _record_merge(tx: Tx, call: Call, ident: str, commit: str) -> PullRequest:
    filed = _filed(tx, call, ident)
    if filed.pull_request.state is PullRequestState.MERGED:
        return filed.pull_request
    state = PullRequestState.MERGED
    merged = replace(filed.pull_request, state=state, merge_commit=commit, merged_at=call.now)
    _record(tx, call, filed, merged, Action.MERGE)
    _retarget_dependents(tx, merged)
    return merged


def _record(tx: Tx, call: Call, filed: Filed, after: PullRequest, action: Action) -> None:
    tx.save_pull_request(after)
    data = {"pull_request": after.id, "number": after.number, "commit": after.merge_commit, "by": call.principal.name}
    tx.add_events([NewEvent(f"ticket:{filed.ticket.id}", f"pull_request.{after.state}", data)], call.now)
    # What was cancelled or runs again meanwhile keeps its state; the pull request alone is over.
    if allows(filed.ticket, action):
        commit_steps(tx, [advance(filed.ticket, action, call.now)], call.now)


def _retarget_dependents(tx: Tx, merged: PullRequest) -> None:
    """Point what was based on the merged branch at the branch that it went into.

    Its base commit stays: with several dependencies merged, git finds several merge bases, and a diff against one of
    them would show the others' work as its own.
    """
    for one in _based_on(tx, merged):
        tx.save_pull_request(replace(one, base_branch=merged.base_branch))


def _based_on(reader: Reader, merged: PullRequest) -> list[PullRequest]:
    """Return the open pull requests of dependents that build on nothing else that is still open."""
    dependents = reader.dependents([merged.ticket_id])
    found = [(ticket, reader.pull_request_of(ticket.id)) for ticket in dependents]
    return [
        one
        for ticket, one in found
        if one and one.state is PullRequestState.OPEN and one.base_branch != merged.base_branch
        if not _unmerged_below(reader, ticket)
    ]
