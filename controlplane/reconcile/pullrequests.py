"""Opens the pull request of a ticket whose attempt was accepted. Safe to repeat at any point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from controlplane.domain.ids import new_id
from controlplane.domain.project import Project
from controlplane.domain.pullrequest import PullRequest, PullRequestState
from controlplane.domain.refs import base_ref, branch, pr_ref
from controlplane.domain.ticket import Ticket, TicketState
from controlplane.domain.transitions import Action, advance
from controlplane.failpoint import hit
from controlplane.ports import DiffStat, Forge, Reader, Store, Tx
from controlplane.reconcile.body import Provenance, body
from controlplane.usecases.assignments import find_agent
from controlplane.usecases.moves import commit_steps


@dataclass(frozen=True, slots=True)
class _Draft:
    """All that the store knows of the pull request before the forge is asked."""

    ticket: Ticket
    project: Project
    text: str


async def open_pull_request(store: Store, forge: Forge, key: str, payload: Mapping[str, Any]) -> None:
    """Publishes the head and records the pull request, once; nothing for an attempt that no longer is the last word.

    Raises what the forge raises; the caller tries again later.
    """
    draft = await store.read(lambda reader: _draft(reader, payload))
    if draft is None:
        await store.write(lambda tx: tx.effect_done(key, store.now()))
        return
    head = str(payload["head"])
    default = draft.project.spec.default_branch or await forge.probe(draft.project.spec.repository)
    hit("effect_before_forge")
    await forge.publish(draft.project, draft.ticket.key, head)
    hit("published_before_recorded")
    base = str(payload["base"]) or await forge.merge_base(draft.project, default, head)
    stat = await forge.stat(draft.project, base, head)
    found = _Found(draft, default, base, head, stat)
    await store.write(lambda tx: _record(tx, key, found, store.now()))


@dataclass(frozen=True, slots=True)
class _Found:
    draft: _Draft
    default_branch: str
    base: str
    head: str
    stat: DiffStat


def _draft(reader: Reader, payload: Mapping[str, Any]) -> _Draft | None:
    ticket = reader.ticket(str(payload["tenant_id"]), str(payload["ticket_id"]))
    if ticket is None or not _stands(ticket, int(payload["fence"])):
        return None
    project = reader.project(ticket.tenant_id, ticket.spec.project_id) if ticket.spec.project_id else None
    if project is None or not project.spec.repository:
        return None
    attempt = reader.attempt(str(payload["attempt_id"]))
    provenance = Provenance(
        attempt=attempt,
        agent=find_agent(reader, ticket, project),
        host=reader.host(attempt.host_id) if attempt else None,
        fence=int(payload["fence"]),
        base=str(payload["base"]),
        head=str(payload["head"]),
        template_digest=str(payload["template_digest"]),
    )
    text = body(
        ticket,
        provenance,
        test_command=project.spec.test_command,
        findings=payload["findings"],
        blocked=payload["blocked_calls"],
    )
    return _Draft(ticket, project, text)


def _stands(ticket: Ticket, fence: int) -> bool:
    """Whether the attempt with this fence is still what the ticket waits for review with."""
    return ticket.fence == fence and ticket.state is TicketState.IN_REVIEW


def _stacked_on(reader: Reader, ticket: Ticket) -> str:
    """Until its dependencies are merged, a pull request stands on theirs, so that it shows its own changes only."""
    heads = [one for one in reader.tickets_by_id(ticket.spec.depends_on) if one.head]
    unmerged = [one for one in heads if _unmerged(reader, one)]
    if not unmerged:
        return ""
    return branch(pr_ref(unmerged[0].key) if len(heads) == 1 else base_ref(ticket.key))


def _unmerged(reader: Reader, dependency: Ticket) -> bool:
    pull_request = reader.pull_request_of(dependency.id)
    return pull_request is None or pull_request.state is PullRequestState.OPEN


def _record(tx: Tx, key: str, found: _Found, now: float) -> None:
    tx.effect_done(key, now)
    draft = found.draft
    ticket = tx.ticket(draft.ticket.tenant_id, draft.ticket.id)
    if ticket is None or not _stands(ticket, draft.ticket.fence):
        return  # cancelled while the branch was on its way: the branch is just a branch
    pull_request = _pull_request(tx, ticket, found, now)
    complete_on = draft.project.spec.complete_on
    step = advance(ticket, Action.OPEN, now, pull_request_id=pull_request.id, complete_on=complete_on)
    commit_steps(tx, [step], now)


def _pull_request(tx: Tx, ticket: Ticket, found: _Found, now: float) -> PullRequest:
    """A ticket has one pull request; a later attempt moves it on, and opens it again where it was closed."""
    known = tx.pull_request_of(ticket.id)
    shown = replace(
        known or _new(tx, ticket, found, now),
        title=ticket.spec.title,
        body=found.draft.text,
        state=PullRequestState.OPEN,
        # Looked up here, in the writer: a dependency may have been merged while the branch was on its way.
        base_branch=_stacked_on(tx, ticket) or found.default_branch,
        base=found.base,
        head=found.head,
        additions=found.stat.additions,
        deletions=found.stat.deletions,
        changed_files=found.stat.changed_files,
    )
    if known is None:
        tx.add_pull_request(shown)
    else:
        tx.save_pull_request(shown)
    return shown


def _new(tx: Tx, ticket: Ticket, found: _Found, now: float) -> PullRequest:
    project_id = found.draft.project.id
    return PullRequest(
        id=new_id("pr", now),
        number=tx.next_pull_request_number(project_id),
        project_id=project_id,
        ticket_id=ticket.id,
        ticket_key=ticket.key,
        title="",
        body="",
        state=PullRequestState.OPEN,
        base_branch="",
        head_branch=branch(pr_ref(ticket.key)),
        base="",
        head="",
        created_at=now,
    )
