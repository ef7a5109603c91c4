"""Runs of workflows: what became of each step in one attempt of a ticket."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from controlplane.domain.workflow import Workflow

MAX_SUMMARY: Final = 2000
MAX_OUTPUTS: Final = 8 << 10  # bytes of JSON


class RunState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    LOST = "lost"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class StepExecution:
    """Times are epoch seconds by the store's clock; a guest's clock is not believed."""

    name: str
    agent: str
    state: StepState = StepState.PENDING
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int = 0
    summary: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """One attempt of a workflow ticket; `workflow` is `name@version`."""

    id: str
    tenant_id: str
    ticket_id: str
    attempt_id: str
    workflow: str
    state: RunState
    started_at: float
    steps: tuple[StepExecution, ...]
    reason: str = ""
    finished_at: float | None = None


# What a guest may report of a step, and from where. It may send anything; what fits nowhere changes nothing.
_REPORTS: Final[Mapping[StepState, frozenset[StepState]]] = {
    StepState.RUNNING: frozenset({StepState.PENDING}),
    StepState.SUCCEEDED: frozenset({StepState.RUNNING}),
    StepState.FAILED: frozenset({StepState.RUNNING}),
    StepState.SKIPPED: frozenset({StepState.PENDING}),
}


def opened(
    workflow: Workflow, *, ident: str, tenant_id: str, ticket_id: str, attempt_id: str, now: float
) -> WorkflowRun:
    """The run of a fresh attempt, every step pending."""
    steps = tuple(StepExecution(step.name, step.agent) for step in workflow.steps)
    return WorkflowRun(ident, tenant_id, ticket_id, attempt_id, workflow.ref, RunState.RUNNING, now, steps)


def reported(run: WorkflowRun, name: str, data: Mapping[str, Any], now: float) -> WorkflowRun:
    """The run after a guest's word about a step: `state`, and at its end `exit_code` and `summary`."""
    try:
        state = StepState(str(data.get("state")))
    except ValueError:
        return run

    def move(step: StepExecution) -> StepExecution:
        if step.state not in _REPORTS.get(state, frozenset()):
            return step
        code = data.get("exit_code", 0)
        return replace(
            step,
            state=state,
            started_at=now if state is StepState.RUNNING else step.started_at,
            finished_at=None if state is StepState.RUNNING else now,
            exit_code=code if isinstance(code, int) and 0 <= code < 1 << 31 else 0,
            summary=str(data.get("summary", ""))[:MAX_SUMMARY],
        )

    return _changed(run, lambda step: move(step) if step.name == name else step)


def put_out(run: WorkflowRun, data: Mapping[str, Any]) -> WorkflowRun:
    """The run with outputs merged into the step that runs now; what would be too large is left out."""

    def merge(step: StepExecution) -> StepExecution:
        outputs = {**step.outputs, **data}
        return replace(step, outputs=outputs) if len(json.dumps(outputs)) <= MAX_OUTPUTS else step

    return _changed(run, lambda step: merge(step) if step.state is StepState.RUNNING else step)


def closed(run: WorkflowRun, state: RunState, reason: str, now: float) -> WorkflowRun:
    """The run after its attempt ended: what still ran ended with it, what never began was skipped."""
    if run.state is not RunState.RUNNING:
        return run

    def end(step: StepExecution) -> StepExecution:
        if step.state is StepState.RUNNING:
            return replace(step, state=StepState(state.value), finished_at=now)
        return replace(step, state=StepState.SKIPPED) if step.state is StepState.PENDING else step

    return replace(_changed(run, end), state=state, reason=reason, finished_at=now)


def _changed(run: WorkflowRun, change: Callable[[StepExecution], StepExecution]) -> WorkflowRun:
    return replace(run, steps=tuple(map(change, run.steps)))
