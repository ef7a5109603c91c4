"""Registered workflows, and the runs of tickets that have one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from peewee import ModelSelect

from controlplane.domain.run import RunState, StepExecution, StepState, WorkflowRun
from controlplane.domain.workflow import Workflow, WorkflowStep
from controlplane.ports import Page
from controlplane.stores import statements
from controlplane.stores.session import Row
from controlplane.stores.tables import StepExecutionTable, WorkflowRunTable, WorkflowTable
from controlplane.stores.unit import Unit, pack, unpack

UPSERT_WORKFLOW = statements.upsert(WorkflowTable, "name", "version")
UPSERT_RUN = statements.upsert(WorkflowRunTable, "id")
UPSERT_STEP = statements.upsert(StepExecutionTable, "run_id", "position")
SELECT_STEPS = statements.select(StepExecutionTable, "")


class WorkflowReads(Unit):
    def workflow(self, tenant_id: str | None, name: str, version: str = "") -> Workflow | None:
        query = own(WorkflowTable.select().where(WorkflowTable.name == name), tenant_id)
        if version:
            query = query.where(WorkflowTable.version == version)
        newest = query.order_by(WorkflowTable.published_at.desc(), WorkflowTable.version.desc()).limit(1)
        found = self.session.select(newest)
        return to_workflow(found[0]) if found else None

    def workflows(self, tenant_id: str | None) -> list[Workflow]:
        query = own(WorkflowTable.select(), tenant_id)
        query = query.order_by(WorkflowTable.name, WorkflowTable.published_at, WorkflowTable.version)
        return [to_workflow(row) for row in self.session.select(query)]

    def workflow_run(self, tenant_id: str, ident: str) -> WorkflowRun | None:
        query = WorkflowRunTable.select().where(WorkflowRunTable.tenant_id == tenant_id, WorkflowRunTable.id == ident)
        return next(iter(self._runs(self.session.select(query))), None)

    def workflow_run_of(self, attempt_id: str) -> WorkflowRun | None:
        query = WorkflowRunTable.select().where(WorkflowRunTable.attempt_id == attempt_id)
        return next(iter(self._runs(self.session.select(query))), None)

    def workflow_runs(self, tenant_id: str, ticket_id: str, page: Page) -> tuple[list[WorkflowRun], str]:
        query = WorkflowRunTable.select(WorkflowRunTable, WorkflowRunTable.id.alias("position"))
        query = query.where(WorkflowRunTable.tenant_id == tenant_id)
        if ticket_id:
            query = query.where(WorkflowRunTable.ticket_id == ticket_id)
        rows, token = self.page(query, WorkflowRunTable.id, ("workflow_runs", tenant_id, ticket_id), page, tuple)
        return self._runs(rows), token

    def _runs(self, rows: Sequence[Row]) -> list[WorkflowRun]:
        steps: dict[str, list[StepExecution]] = {row[0]: [] for row in rows}
        for chunk in statements.chunks(list(steps)):
            where = f"{SELECT_STEPS} {statements.within('run_id', len(chunk))} ORDER BY run_id, position"
            for run_id, _position, *step in self.session.rows(where, chunk):
                steps[run_id].append(to_step(step))
        return [to_run(row, steps[row[0]]) for row in rows]


class WorkflowWrites(WorkflowReads):
    def add_workflow(self, workflow: Workflow) -> None:
        manifest = {
            "description": workflow.description,
            "image": workflow.image,
            "steps": [asdict(step) for step in workflow.steps],
        }
        facts = (workflow.digest, workflow.built_in, workflow.published_at, pack(manifest), workflow.tenant_id)
        self.session.change(UPSERT_WORKFLOW, ((workflow.name, workflow.version, *facts),))
        self.topics.add("agents")  # one registry, one topic

    def save_workflow_runs(self, runs: Sequence[WorkflowRun]) -> None:
        self.session.change(UPSERT_RUN, map(run_row, runs))
        self.session.change(
            UPSERT_STEP,
            ((run.id, position, *step_row(step)) for run in runs for position, step in enumerate(run.steps)),
        )


def own(query: ModelSelect[Any], tenant_id: str | None) -> ModelSelect[Any]:
    """What a tenant may see; None: everything."""
    return query if tenant_id is None else query.where(WorkflowTable.tenant_id.in_(("", tenant_id)))


def to_workflow(row: Row) -> Workflow:
    name, version, digest, built_in, published_at, packed, tenant_id = row
    manifest = unpack(packed)
    steps = tuple(WorkflowStep(**{**step, "needs": tuple(step["needs"])}) for step in manifest["steps"])
    return Workflow(
        name=name,
        version=version,
        description=manifest["description"],
        image=manifest["image"],
        steps=steps,
        digest=digest,
        built_in=bool(built_in),
        published_at=published_at,
        tenant_id=tenant_id,
    )


def run_row(run: WorkflowRun) -> Row:
    identity = (run.id, run.tenant_id, run.ticket_id, run.attempt_id, run.workflow)
    return (*identity, run.state.value, run.started_at, run.reason, run.finished_at)


def to_run(row: Row, steps: Sequence[StepExecution]) -> WorkflowRun:
    named = dict(zip(statements.columns(WorkflowRunTable), row, strict=True))
    return WorkflowRun(**{**named, "state": RunState(named["state"])}, steps=tuple(steps))


def step_row(step: StepExecution) -> Row:
    times = (step.started_at, step.finished_at)
    return (step.name, step.agent, step.state.value, *times, step.exit_code, step.summary, pack(step.outputs))


def to_step(row: Sequence[object]) -> StepExecution:
    named = dict(zip(statements.columns(StepExecutionTable)[2:], row, strict=True))
    return StepExecution(
        **{**named, "state": StepState(named["state"]), "outputs": unpack(str(named["outputs"]))}  # type: ignore[arg-type]
    )
