"""Workflows and their runs for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from google.protobuf.json_format import MessageToDict
from rich.table import Table

from swarm_cli.render import duration, paint, table, text
from swarm_sdk.types import StepExecution, Workflow, WorkflowRun, WorkflowStep, name_of


def image_of(name: str, *, present: bool) -> str:
    """An image, marked when no host has it."""
    return text(name) if present else f"[red]{text(name or '?')} (missing)[/]"


def drawing(steps: Sequence[WorkflowStep]) -> list[str]:
    """The DAG as lines: steps beside each other wait for the same depth of steps above them."""
    depth: dict[str, int] = {}
    for step in steps:  # each stands after what it needs
        depth[step.name] = max((depth[name] + 1 for name in step.needs), default=0)
    rows = [
        [step.name for step in steps if depth[step.name] == level]
        for level in range(max(depth.values(), default=-1) + 1)
    ]
    lines: list[str] = []
    for row in rows:
        boxes = [f"[ {name} ]" for name in row]
        if lines:
            lines.append("".join("│".center(len(box)) + "  " for box in boxes).rstrip())
        lines.append("  ".join(boxes))
    return lines


def step_table(workflow: Workflow) -> Table:
    rows = [
        [text(step.name), text(step.agent), text(", ".join(step.needs)), text(step.description, 80)]
        for step in workflow.steps
    ]
    return table(["STEP", "AGENT", "NEEDS", "DESCRIPTION"], rows)


def run_table(runs: Iterable[WorkflowRun]) -> Table:
    """A row per step of each run."""
    rows = [
        [run.id[:14], text(run.workflow), text(step.name), paint(name_of(step, "state")), _took(step), _said(step)]
        for run in runs
        for step in run.steps
    ]
    return table(["RUN", "WORKFLOW", "STEP", "STATE", ">TOOK", "SAID"], rows)


def _took(step: StepExecution) -> str:
    if not (step.HasField("started_at") and step.HasField("finished_at")):
        return ""
    return duration((step.finished_at.ToNanoseconds() - step.started_at.ToNanoseconds()) / 1e9)


def _said(step: StepExecution) -> str:
    outputs = json.dumps(MessageToDict(step.outputs), ensure_ascii=False) if step.HasField("outputs") else ""
    return text(" ".join(filter(None, (step.summary, outputs))), 100)
