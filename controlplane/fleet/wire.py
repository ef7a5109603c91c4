"""Host link messages to domain data and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from google.protobuf.message import Message

from controlplane.api.convert.cleanup import report_in
from controlplane.api.convert.common import json_out
from controlplane.api.convert.ticket import resources_out
from controlplane.api.convert.vm import vm_in
from controlplane.domain.agent import Agent
from controlplane.domain.lease import LeaseRef
from controlplane.domain.refs import attempt_ref, base_ref
from controlplane.errors import InvalidInput, SwarmError
from controlplane.ports import AssignedStep, Assignment, CommandUpdate
from swarm.hostlink.v1 import hostlink_pb2 as pb

VERBS: Final = {
    "pause": pb.VmVerb.VERB_PAUSE,
    "resume": pb.VmVerb.VERB_RESUME,
    "terminate": pb.VmVerb.VERB_TERMINATE,
}
COMMANDS: Final[Mapping[str, Callable[..., Message]]] = {
    "boot_vms": pb.BootVms,
    "vm": lambda vm_id, verb: pb.VmVerb(vm_id=vm_id, verb=VERBS[verb]),
    "build_image": pb.BuildImage,
    "bake_template": pb.BakeTemplate,
    "verify_template": pb.VerifyTemplate,
    "cleanup": pb.Cleanup,
    "open_console": pb.OpenConsole,
}


def by_code(kind: type[SwarmError] = SwarmError) -> Mapping[str, type[SwarmError]]:
    """Error classes by code; of several with one code the one nearest to the root."""
    below = [by_code(child) for child in reversed(kind.__subclasses__())]
    return {code: each for found in below for code, each in found.items()} | {kind.code: kind}


ERRORS: Final = by_code()


def ref_in(message: pb.AttemptRef) -> LeaseRef:
    return LeaseRef(message.attempt_id, message.ticket_id, message.fence)


def ref_out(ref: LeaseRef) -> pb.AttemptRef:
    return pb.AttemptRef(attempt_id=ref.attempt_id, ticket_id=ref.ticket_id, fence=ref.fence)


def refs_in(messages: Iterable[pb.AttemptRef]) -> list[LeaseRef]:
    return [ref_in(message) for message in messages]


def refs_out(refs: Iterable[LeaseRef]) -> list[pb.AttemptRef]:
    return [ref_out(ref) for ref in refs]


def assignment_out(assignment: Assignment) -> pb.Assignment:
    """Everything that a host needs to run the ticket, and nothing secret."""
    ticket, attempt, work = assignment.ticket, assignment.attempt, assignment.work
    spec = ticket.spec
    resources = resources_out(spec.resources)
    resources.image = resources.image or work.image
    return pb.Assignment(
        attempt=pb.AttemptRef(attempt_id=attempt.id, ticket_id=ticket.id, fence=attempt.fence),
        ticket_key=ticket.key,
        title=spec.title,
        description=spec.description,
        acceptance_criteria=spec.acceptance_criteria,
        resources=resources,
        agent=bundle_out(work.agent) if work.agent else None,
        input=json_out(spec.input) if work.agent else None,
        repository=repository_out(assignment),
        test_command=assignment.project.spec.test_command if assignment.project else "",
        timeout_s=spec.timeout_s,
        project_id=spec.project_id,
        number=attempt.number,
        workflow=spec.workflow,
        steps=map(step_out, work.steps),
        stall_after_s=stall_after(assignment),
        traceparent=spec.traceparent,
    )


def bundle_out(agent: Agent) -> pb.AgentBundle:
    return pb.AgentBundle(name=agent.name, version=agent.version, digest=agent.digest, command=agent.command)


def step_out(assigned: AssignedStep) -> pb.Step:
    step = assigned.step
    return pb.Step(
        name=step.name,
        description=step.description,
        agent=bundle_out(assigned.agent),
        needs=step.needs,
        input=json_out(assigned.input),
    )


def stall_after(assignment: Assignment) -> int | None:
    """Seconds without progress, of the ticket or else its project; None: the host's own limit."""
    wished = assignment.ticket.spec.stall_timeout_s
    return assignment.project.spec.stall_timeout_s if wished is None and assignment.project else wished


def repository_out(assignment: Assignment) -> pb.Repository | None:
    """Unset for a ticket without one."""
    project, key = assignment.project, assignment.ticket.key
    if project is None or not project.spec.repository:
        return None
    return pb.Repository(
        url=project.spec.repository,
        default_branch=project.spec.default_branch,
        dependencies=[pb.Dependency(ticket_key=key, ref=ref, head=head) for key, ref, head in assignment.dependencies],
        push_ref=attempt_ref(key, assignment.attempt.fence),
        base_ref=base_ref(key) if len(assignment.dependencies) > 1 else "",  # else no pull request stands on it
        continue_from=assignment.continue_from,
    )


def command_out(command_id: str, verb: str, arguments: Mapping[str, Any]) -> pb.Command:
    """`InvalidInput` for a verb or arguments that no host knows."""
    if verb not in COMMANDS:
        raise InvalidInput(f"there is no host command {verb!r}")
    command = pb.Command(command_id=command_id)
    try:
        body = COMMANDS[verb](**arguments)
    except (KeyError, TypeError, ValueError) as fault:
        raise InvalidInput(f"{verb} does not take these arguments: {fault}") from None
    part: Message = getattr(command, verb)
    part.SetInParent()
    part.MergeFrom(body)
    return command


def update_in(message: pb.CommandUpdate, host_id: str) -> CommandUpdate:
    return CommandUpdate(
        fraction=min(max(message.fraction, 0.0), 1.0) if math.isfinite(message.fraction) else 0.0,
        message=message.message[:2000],
        done=message.done,
        error_code=message.error_code,
        error=message.error[:2000],
        vms=tuple(vm_in(vm, host_id) for vm in message.vms),
        cleanup=report_in(message.cleanup) if message.HasField("cleanup") else None,
    )


def error_of(code: str, message: str) -> SwarmError:
    """The error of the tree that has this code; what a host makes up is an internal one."""
    return ERRORS.get(code, SwarmError)(message or "the host gives no reason", reason="host_command_failed")
