"""Runs of workflows: opened with the VM of an attempt, fed by what its guest reports, closed with the attempt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.domain import run as runs
from controlplane.domain.call import Call
from controlplane.domain.ids import new_id
from controlplane.domain.run import RunState, WorkflowRun
from controlplane.domain.ticket import Ticket
from controlplane.errors import NotFound
from controlplane.ports import Page, Reader, Tx
from controlplane.usecases.workflows import find


def list_runs(reader: Reader, call: Call, ticket: str, page: Page) -> tuple[list[WorkflowRun], str]:
    """Oldest first, of one ticket (id or key) or all; NotFound for a ticket that does not exist."""
    tenant, ticket_id = call.principal.tenant_id, ""
    if ticket:
        if (found := reader.ticket(tenant, ticket)) is None:
            raise NotFound(f"there is no ticket {ticket}")
        ticket_id = found.id
    return reader.workflow_runs(tenant, ticket_id, page)


def get_run(reader: Reader, call: Call, ident: str) -> WorkflowRun:
    if run := reader.workflow_run(call.principal.tenant_id, ident):
        return run
    raise NotFound(f"there is no workflow run {ident}")


def open_run(tx: Tx, ticket: Ticket, now: float) -> WorkflowRun | None:
    """The run of the ticket's current attempt, made if need be; None for a ticket without a workflow."""
    if not ticket.spec.workflow:
        return None
    if run := tx.workflow_run_of(ticket.attempt_id):
        return run
    if (workflow := find(tx, ticket.tenant_id, ticket.spec.workflow)) is None:
        return None
    run = runs.opened(
        workflow,
        ident=new_id("wr", now),
        tenant_id=ticket.tenant_id,
        ticket_id=ticket.id,
        attempt_id=ticket.attempt_id,
        now=now,
    )
    tx.save_workflow_runs([run])
    return run


def record(tx: Tx, ticket: Ticket, events: Iterable[tuple[str, str, Mapping[str, Any]]], now: float) -> None:
    """Take what a guest reports, as (type, text, data), into the run of the current attempt."""
    telling = [event for event in events if event[0] in {"step", "output"}]
    before = open_run(tx, ticket, now) if telling else None
    if before is None:
        return
    run = before
    for kind, text, data in telling:
        run = runs.reported(run, text, data, now) if kind == "step" else runs.put_out(run, data)
    if run != before:
        tx.save_workflow_runs([run])


def close_runs(tx: Tx, tickets: Iterable[Ticket], state: RunState, reason: str, now: float) -> None:
    """End the runs of the tickets' current attempts; what has none, or an ended one, is left alone."""
    named = [ticket.attempt_id for ticket in tickets if ticket.spec.workflow]
    found = [run for attempt_id in named if (run := tx.workflow_run_of(attempt_id))]
    if found:
        tx.save_workflow_runs([runs.closed(run, state, reason, now) for run in found])
