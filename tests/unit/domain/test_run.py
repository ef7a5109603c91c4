from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain import run as runs
from controlplane.domain.run import MAX_OUTPUTS, RunState, StepState, WorkflowRun
from controlplane.domain.workflow import Workflow, WorkflowStep

R = StepState
FLOW = Workflow("flow", "1.0.0", "", "", tuple(WorkflowStep(name, "shell") for name in ("a", "b", "c")))


def fresh() -> WorkflowRun:
    return runs.opened(FLOW, ident="wr_1", tenant_id="t", ticket_id="tk_1", attempt_id="at_1", now=1.0)


def after(*reports: tuple[str, str], run: WorkflowRun | None = None, **data: Any) -> WorkflowRun:
    run = run or fresh()
    for number, (name, state) in enumerate(reports):
        run = runs.reported(run, name, {"state": state, **data}, 10.0 + number)
    return run


def states(run: WorkflowRun) -> list[str]:
    return [step.state.value for step in run.steps]


def test_a_step_begins_and_ends() -> None:
    run = after(("a", "running"), ("a", "failed"), exit_code=3, summary="oh no")
    first = run.steps[0]
    assert (first.state, first.started_at, first.finished_at) == (R.FAILED, 10.0, 11.0)
    assert (first.exit_code, first.summary) == (3, "oh no")
    assert run.state is RunState.RUNNING


@pytest.mark.parametrize(
    "reports",
    [
        [("a", "succeeded")],
        [("x", "running")],
        [("a", "lost")],
        [("a", "cancelled")],
        [("a", "pending")],
        [("a", "no such state")],
        [("a", "failed")],
    ],
)
def test_what_a_guest_cannot_say_changes_nothing(reports: list[tuple[str, str]]) -> None:
    assert after(*reports) == fresh()


def test_a_step_that_ended_stays_as_it_is() -> None:
    done = after(("a", "running"), ("a", "succeeded"))
    assert after(("a", "running"), ("a", "failed"), ("a", "skipped"), run=done) == done


def test_outputs_go_to_the_step_that_runs_and_stay_small() -> None:
    run = after(("a", "running"), ("a", "succeeded"), ("b", "running"))
    run = runs.put_out(runs.put_out(run, {"x": 1, "y": 1}), {"y": 2})
    assert [dict(step.outputs) for step in run.steps] == [{}, {"x": 1, "y": 2}, {}]
    assert runs.put_out(run, {"z": "x" * MAX_OUTPUTS}) == run
    assert runs.put_out(fresh(), {"x": 1}) == fresh()


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.LOST, RunState.CANCELLED])
def test_the_end_of_an_attempt_ends_its_run_once(state: RunState) -> None:
    run = runs.closed(after(("a", "running"), ("a", "succeeded"), ("b", "running")), state, "why", 20.0)
    assert states(run) == ["succeeded", state.value, "skipped"]
    assert (run.state, run.reason, run.finished_at, run.steps[1].finished_at) == (state, "why", 20.0, 20.0)
    assert runs.closed(run, RunState.LOST, "again", 30.0) == run


WORDS = st.sampled_from(["running", "failed"]) | st.integers() | st.none() | st.lists(st.integers())


@given(
    st.text(max_size=3) | st.sampled_from("abc"),
    st.dictionaries(st.sampled_from(["state", "exit_code", "summary"]), WORDS),
)
def test_any_report_leaves_a_run_that_can_be_stored(name: str, data: dict[str, Any]) -> None:
    for step in runs.reported(fresh(), name, data, 5.0).steps:
        assert 0 <= step.exit_code < 1 << 31
        assert len(step.summary) <= runs.MAX_SUMMARY
