"""Workflows, their runs, and the mapping."""

from __future__ import annotations

from collections.abc import Collection

from controlplane.api.convert.common import enum_out, json_out, timestamp
from controlplane.api.convert.ticket import TYPES
from controlplane.domain.mapping import Rule, Runner
from controlplane.domain.run import StepExecution, WorkflowRun
from controlplane.domain.workflow import Workflow, WorkflowStep
from swarm.registry.v1 import registry_pb2 as pb
from swarm.ticket.v1 import ticket_pb2


def workflow_out(workflow: Workflow, needs_image: str, images: Collection[str]) -> pb.Workflow:
    """`needs_image` is that of its VM now, `images` are those that some host has."""
    return pb.Workflow(
        name=workflow.name,
        version=workflow.version,
        description=workflow.description,
        image=workflow.image,
        steps=map(step_out, workflow.steps),
        digest=workflow.digest,
        built_in=workflow.built_in,
        published_at=timestamp(workflow.published_at),
        needs_image=needs_image,
        image_present=needs_image in images,
    )


def step_out(step: WorkflowStep) -> pb.WorkflowStep:
    return pb.WorkflowStep(
        name=step.name,
        description=step.description,
        agent=step.agent,
        needs=step.needs,
        input=json_out(step.input) if step.input else None,
    )


def run_out(run: WorkflowRun) -> pb.WorkflowRun:
    return pb.WorkflowRun(
        id=run.id,
        ticket_id=run.ticket_id,
        attempt_id=run.attempt_id,
        workflow=run.workflow,
        state=enum_out(pb.WorkflowRunState, "WORKFLOW_RUN_STATE", run.state),
        reason=run.reason,
        started_at=timestamp(run.started_at),
        finished_at=timestamp(run.finished_at),
        steps=map(execution_out, run.steps),
    )


def execution_out(step: StepExecution) -> pb.StepExecution:
    return pb.StepExecution(
        name=step.name,
        agent=step.agent,
        state=enum_out(pb.StepState, "STEP_STATE", step.state),
        started_at=timestamp(step.started_at),
        finished_at=timestamp(step.finished_at),
        exit_code=step.exit_code,
        summary=step.summary,
        outputs=json_out(step.outputs) if step.outputs else None,
    )


def rule_in(message: pb.MappingRule) -> Rule:
    return Rule(
        runner=Runner(message.agent, message.workflow),
        type=TYPES.get(message.type),
        tags=tuple(message.tags),
        project_id=message.project_id,
    )


def rule_out(rule: Rule) -> pb.MappingRule:
    any_type = ticket_pb2.TicketType.TICKET_TYPE_UNSPECIFIED
    return pb.MappingRule(
        type=enum_out(ticket_pb2.TicketType, "TICKET_TYPE", rule.type) if rule.type else any_type,
        tags=rule.tags,
        project_id=rule.project_id,
        agent=rule.runner.agent,
        workflow=rule.runner.workflow,
    )
