"""Tickets, attempts, events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.duration_pb2 import Duration

from controlplane.api.convert.common import (
    duration,
    enum_out,
    json_in,
    json_out,
    optional_seconds,
    timestamp,
    whole_seconds,
)
from controlplane.domain.event import Event
from controlplane.domain.failure import cause_of
from controlplane.domain.ticket import (
    Attempt,
    AttemptState,
    BootTier,
    BootTiming,
    Isolation,
    Resources,
    Ticket,
    TicketSpec,
    TicketState,
    TicketType,
)
from swarm.ticket.v1 import ticket_pb2 as pb

DEFAULT_PRIORITY: Final = 5
TYPES: Final[Mapping[int, TicketType]] = {pb.TicketType.Value(f"TICKET_TYPE_{kind.name}"): kind for kind in TicketType}
ISOLATIONS: Final[Mapping[int, Isolation]] = {int(each): each for each in Isolation}


def state_in(number: pb.TicketState.ValueType) -> TicketState:
    return TicketState[pb.TicketState.Name(number).removeprefix("TICKET_STATE_")]


def isolation_in(number: int) -> Isolation:
    """A class that this version does not know counts as unspecified."""
    return ISOLATIONS.get(number, Isolation.UNSPECIFIED)


def isolation_out(isolation: Isolation) -> pb.IsolationClass.ValueType:
    return enum_out(pb.IsolationClass, "ISOLATION_CLASS", isolation)


def resources_in(message: pb.Resources) -> Resources:
    return Resources(
        vcpus=message.vcpus,
        memory_mib=message.memory_mib,
        disk_mib=message.disk_mib,
        image=message.image,
        isolation=isolation_in(message.isolation),
        labels=dict(message.labels),
    )


def resources_out(resources: Resources) -> pb.Resources:
    return pb.Resources(
        vcpus=resources.vcpus,
        memory_mib=resources.memory_mib,
        disk_mib=resources.disk_mib,
        image=resources.image,
        isolation=isolation_out(resources.isolation),
        labels=resources.labels,
    )


def spec_in(message: pb.TicketSpec, field: str = "/spec") -> TicketSpec:
    """`field` is where the spec stands in its request. A type that is not known counts as a task: rules refuse it."""
    return TicketSpec(
        title=message.title,
        type=TYPES.get(message.type, TicketType.TASK),
        description=message.description,
        acceptance_criteria=tuple(message.acceptance_criteria),
        priority=message.priority if message.HasField("priority") else DEFAULT_PRIORITY,
        tags=tuple(message.tags),
        assignee=message.assignee,
        project_id=message.project_id,
        parent_id=message.parent_id,
        depends_on=tuple(message.depends_on),
        agent=message.agent,
        input=json_in(message.input, f"{field}/input"),
        resources=resources_in(message.resources),
        timeout_s=whole_seconds(message.timeout, f"{field}/timeout"),
        ref=message.ref,
        workflow=message.workflow,
        stall_timeout_s=optional_seconds(message, "stall_timeout", field),
    )


def spec_out(spec: TicketSpec) -> pb.TicketSpec:
    return pb.TicketSpec(
        type=enum_out(pb.TicketType, "TICKET_TYPE", spec.type),
        title=spec.title,
        description=spec.description,
        acceptance_criteria=spec.acceptance_criteria,
        priority=spec.priority,
        tags=spec.tags,
        assignee=spec.assignee,
        project_id=spec.project_id,
        parent_id=spec.parent_id,
        depends_on=spec.depends_on,
        agent=spec.agent,
        input=json_out(spec.input) if spec.input else None,
        resources=resources_out(spec.resources),
        timeout=Duration(seconds=spec.timeout_s) if spec.timeout_s else None,
        ref=spec.ref,
        workflow=spec.workflow,
        stall_timeout=duration(spec.stall_timeout_s),
    )


_TIERS = {pb.BootTier.Value(f"BOOT_TIER_{tier.name}"): tier for tier in BootTier if tier}


def boot_in(message: pb.BootTiming) -> BootTiming:
    """A tier that this version does not know counts as none."""
    return BootTiming(_TIERS.get(message.tier, BootTier.NONE), message.boot_us, message.ready_us, message.agent_us)


def boot_out(boot: BootTiming) -> pb.BootTiming | None:
    """Unset while no VM came up."""
    if not boot.tier:
        return None
    tier = enum_out(pb.BootTier, "BOOT_TIER", boot.tier)
    return pb.BootTiming(tier=tier, boot_us=boot.boot_us, ready_us=boot.ready_us, agent_us=boot.agent_us)


def attempt_out(attempt: Attempt, retry_delay_s: float | None = None) -> pb.Attempt:
    cause = cause_of(attempt.cause) if attempt.cause and attempt.state is not AttemptState.CANCELLED else None
    return pb.Attempt(
        id=attempt.id,
        ticket_id=attempt.ticket_id,
        number=attempt.number,
        fence=attempt.fence,
        host_id=attempt.host_id,
        vm_id=attempt.vm_id,
        state=enum_out(pb.AttemptState, "ATTEMPT_STATE", attempt.state),
        cause=attempt.cause,
        reason=attempt.reason,
        branch=attempt.branch,
        head=attempt.head,
        boot=boot_out(attempt.boot),
        assigned_at=timestamp(attempt.assigned_at),
        started_at=timestamp(attempt.started_at),
        finished_at=timestamp(attempt.finished_at),
        exit_code=attempt.exit_code,
        fault=cause.fault if cause else "",
        explanation=cause.explanation if cause else "",
        retry_delay=duration(retry_delay_s),
    )


def ticket_out(ticket: Ticket, attempts: Mapping[str, Attempt]) -> pb.Ticket:
    """`attempts` holds the ticket's current one, by id."""
    current = attempts.get(ticket.attempt_id)
    return pb.Ticket(
        id=ticket.id,
        key=ticket.key,
        tenant_id=ticket.tenant_id,
        spec=spec_out(ticket.spec),
        state=enum_out(pb.TicketState, "TICKET_STATE", ticket.state),
        state_reason=ticket.state_reason,
        fence=ticket.fence,
        attempts=ticket.attempts,
        dead_letter=ticket.dead_letter,
        causes=ticket.causes,
        current_attempt=attempt_out(current) if current else None,
        pull_request_id=ticket.pull_request_id,
        question=ticket.question,
        last_log=ticket.last_log,
        created_at=timestamp(ticket.created_at),
        updated_at=timestamp(ticket.updated_at),
        finished_at=timestamp(ticket.finished_at),
        execution_mode=mode_of(ticket.spec),
    )


def mode_of(spec: TicketSpec) -> pb.ExecutionMode.ValueType:
    """Follows from what runs the ticket; nothing runs an epic."""
    if spec.type is TicketType.EPIC:
        return pb.EXECUTION_MODE_UNSPECIFIED
    return pb.EXECUTION_MODE_WORKFLOW if spec.workflow else pb.EXECUTION_MODE_SINGLE


def event_out(event: Event) -> pb.Event:
    return pb.Event(
        topic=event.topic, seq=event.seq, type=event.type, time=timestamp(event.time), data=json_out(event.data)
    )
