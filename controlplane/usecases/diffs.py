"""What a ticket changes, from the control plane's own copy of its repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controlplane.domain.call import Call
from controlplane.domain.project import Project
from controlplane.domain.ticket import AttemptState
from controlplane.ports import FileStat, Reader
from controlplane.usecases.pullrequests import MAX_DIFF
from controlplane.usecases.services import Services
from controlplane.usecases.tickets import get_ticket

MAX_FILES: Final = 1000


@dataclass(frozen=True, slots=True)
class Diff:
    """`patch` is a unified diff of at most 1 MiB; `files` are all that changed. No commits: there is nothing yet."""

    base: str = ""
    head: str = ""
    patch: bytes = b""
    truncated: bool = False
    files: tuple[FileStat, ...] = ()


async def ticket_diff(services: Services, call: Call, ident: str) -> Diff:
    """Of its pull request, else of its last attempt that was accepted. Unavailable while the repository is away."""
    project, base, head = await services.store.read(lambda reader: _compared(reader, call, ident))
    if project is None or not (base and head):
        return Diff()
    patch, truncated = await services.forge.diff(project, base, head, MAX_DIFF)
    files = await services.forge.files(project, base, head)
    return Diff(base, head, patch, truncated, tuple(files))


def _compared(reader: Reader, call: Call, ident: str) -> tuple[Project | None, str, str]:
    ticket = get_ticket(reader, call, ident)
    project = reader.project(ticket.tenant_id, ticket.spec.project_id) if ticket.spec.project_id else None
    if opened := reader.pull_request_of(ticket.id):
        return project, opened.base, opened.head
    accepted = [one for one in reader.attempts(ticket.id) if one.state is AttemptState.SUCCEEDED and one.head]
    return (project, accepted[-1].base, accepted[-1].head) if accepted else (project, "", "")
