"""Between the wire form of the host link and plain data: the only module of hostd that knows both."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf import json_format, struct_pb2, timestamp_pb2

from hostd import messages as m
from hostd.ports import BootTiming, Dependency, Image, Isolation, Template, Tier, VmHealth, VmSample, VmSize, VmState
from swarm.coordinator.v1 import coordinator_pb2
from swarm.fleet.v1 import fleet_pb2
from swarm.guest.v1 import guest_pb2
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.ticket.v1 import ticket_pb2
from swarm.vm.v1 import vm_pb2
from telemetry import traceparent

ISOLATIONS = {
    Isolation.SIM: ticket_pb2.ISOLATION_CLASS_SIM,
    Isolation.TCG: ticket_pb2.ISOLATION_CLASS_TCG,
    Isolation.KVM_QEMU: ticket_pb2.ISOLATION_CLASS_KVM_QEMU,
    Isolation.KVM_FIRECRACKER: ticket_pb2.ISOLATION_CLASS_KVM_FIRECRACKER,
}
TIERS = {
    Tier.T0: ticket_pb2.BOOT_TIER_T0,
    Tier.T1: ticket_pb2.BOOT_TIER_T1,
    Tier.T1S: ticket_pb2.BOOT_TIER_T1S,
    Tier.T2: ticket_pb2.BOOT_TIER_T2,
}
STATES = {
    VmState.STARTING: vm_pb2.VM_STATE_STARTING,
    VmState.RUNNING: vm_pb2.VM_STATE_RUNNING,
    VmState.PAUSED: vm_pb2.VM_STATE_PAUSED,
    VmState.STOPPED: vm_pb2.VM_STATE_STOPPED,
}
HEALTH = {
    VmHealth.UNKNOWN: vm_pb2.VM_HEALTH_UNKNOWN,
    VmHealth.HEALTHY: vm_pb2.VM_HEALTH_HEALTHY,
    VmHealth.UNHEALTHY: vm_pb2.VM_HEALTH_UNHEALTHY,
}
VM_VERBS: Mapping[int, Callable[[str], m.Verb]] = {
    pb.VmVerb.VERB_PAUSE: m.PauseVm,
    pb.VmVerb.VERB_RESUME: m.ResumeVm,
    pb.VmVerb.VERB_TERMINATE: m.TerminateVm,
}


def ref_out(ref: m.AttemptRef) -> pb.AttemptRef:
    return pb.AttemptRef(attempt_id=ref.attempt_id, ticket_id=ref.ticket_id, fence=ref.fence)


def ref_in(ref: pb.AttemptRef) -> m.AttemptRef:
    return m.AttemptRef(ref.attempt_id, ref.ticket_id, ref.fence)


def refs_in(refs: Sequence[pb.AttemptRef]) -> tuple[m.AttemptRef, ...]:
    return tuple(ref_in(ref) for ref in refs)


def _time(ns: int) -> timestamp_pb2.Timestamp | None:
    return timestamp_pb2.Timestamp(seconds=ns // 10**9, nanos=ns % 10**9) if ns else None


def _capacity(value: m.Capacity) -> fleet_pb2.Capacity:
    return fleet_pb2.Capacity(vms=value.vms, vcpus=value.vcpus, memory_mib=value.memory_mib, disk_mib=value.disk_mib)


def _boot(value: BootTiming) -> ticket_pb2.BootTiming:
    return ticket_pb2.BootTiming(
        tier=TIERS[value.tier], boot_us=value.boot_us, ready_us=value.ready_us, agent_us=value.agent_us
    )


def _sample(value: VmSample) -> vm_pb2.VmSample:
    return vm_pb2.VmSample(
        time=_time(value.time_ns),
        cpu_seconds=value.cpu_s,
        memory_bytes=value.memory_bytes,
        private_bytes=value.private_bytes,
        read_bytes=value.read_bytes,
        write_bytes=value.write_bytes,
    )


def _vm(value: m.VmRecord) -> vm_pb2.Vm:
    return vm_pb2.Vm(
        id=value.id,
        ticket_id=value.ticket_id,
        attempt_id=value.attempt_id,
        state=STATES[value.state],
        driver=value.driver,
        isolation=ISOLATIONS[value.isolation],
        image=value.image,
        template=value.template,
        vcpus=value.size.vcpus,
        memory_mib=value.size.memory_mib,
        disk_mib=value.size.disk_mib,
        boot=_boot(value.boot) if value.boot else None,
        created_at=_time(value.created_ns),
        stopped_at=_time(value.stopped_ns),
        last_sample=_sample(value.sample) if value.sample else None,
        health=HEALTH[value.health],
        last_seen_at=_time(value.last_seen_ns),
        misses=value.misses,
    )


def _image(value: Image) -> fleet_pb2.Image:
    return fleet_pb2.Image(
        name=value.name,
        digest=value.digest,
        size_bytes=value.size_bytes,
        vcpus=value.default_size.vcpus,
        memory_mib=value.default_size.memory_mib,
        disk_mib=value.default_size.disk_mib,
        built_at=_time(value.built_ns),
    )


def _template(value: Template) -> fleet_pb2.Template:
    return fleet_pb2.Template(
        digest=value.digest,
        image=value.image,
        image_digest=value.image_digest,
        driver=value.driver,
        driver_version=value.driver_version,
        vcpus=value.vcpus,
        memory_mib=value.memory_mib,
        size_bytes=value.size_bytes,
        baked_at=_time(value.baked_ns),
    )


def hello(value: m.Hello) -> pb.Hello:
    return pb.Hello(
        name=value.name,
        version=value.version,
        boot_id=value.boot_id,
        capacity=_capacity(value.capacity),
        drivers=value.drivers,
        isolation=ISOLATIONS[value.isolation],
        labels=value.labels,
        warnings=value.warnings,
        attempts=[ref_out(ref) for ref in value.attempts],
        images=value.images,
        stream=value.stream,
    )


def _agent_events(value: m.AgentEvents) -> pb.AttemptEvents:
    batch = value.batch
    if value.gap:
        marker = guest_pb2.GuestEvent(type="log", gap=value.gap)
        batch = guest_pb2.EventBatch(events=[marker]).SerializeToString()
    return pb.AttemptEvents(attempt=ref_out(value.attempt), batch=batch)


def _finished(value: m.Finished) -> pb.AttemptFinished:
    return pb.AttemptFinished(
        attempt=ref_out(value.attempt),
        outcome=value.outcome,
        head=value.head,
        cause=value.cause,
        reason=value.reason,
        findings=value.findings,
        blocked_calls=value.blocked_calls,
        template_digest=value.template_digest,
        base=value.base,
    )


def _cleanup(value: m.CleanupReport) -> coordinator_pb2.CleanupReport:
    return coordinator_pb2.CleanupReport(
        vms=value.vms,
        namespaces=value.namespaces,
        files=value.files,
        cgroups=value.cgroups,
        cached=value.cached,
        freed_bytes=value.freed_bytes,
        details=value.details,
    )


def _cleaned(value: m.Cleaned) -> pb.Cleaned:
    return pb.Cleaned(
        report=_cleanup(value.report),
        started_at=_time(value.started_ns),
        finished_at=_time(value.finished_ns),
        error=value.error,
    )


def _command_update(value: m.CommandUpdate) -> pb.CommandUpdate:
    return pb.CommandUpdate(
        command_id=value.command_id,
        fraction=value.fraction,
        message=value.message,
        done=value.done,
        error_code=value.error_code,
        error=value.error,
        vms=[_vm(vm) for vm in value.vms],
        cleanup=_cleanup(value.cleanup) if value.cleanup else None,
    )


def host_event(value: m.HostEvent) -> pb.HostEvent:  # noqa: C901, PLR0911  # one line per kind
    match value:
        case m.Renewal():
            refs = [ref_out(ref) for ref in value.attempts]
            return pb.HostEvent(renewal=pb.Renewal(nonce=value.nonce, attempts=refs))
        case m.Started():
            started = pb.AttemptStarted(attempt=ref_out(value.attempt), vm_id=value.vm_id, boot=_boot(value.boot))
            return pb.HostEvent(started=started)
        case m.Running():
            return pb.HostEvent(running=pb.AttemptRunning(attempt=ref_out(value.attempt), boot=_boot(value.boot)))
        case m.Answered():
            return pb.HostEvent(answered=pb.AttemptAnswered(attempt=ref_out(value.attempt), number=value.number))
        case m.Stopped():
            return pb.HostEvent(stopped=pb.AttemptStopped(attempt=ref_out(value.attempt)))
        case m.AgentEvents():
            return pb.HostEvent(attempt_events=_agent_events(value))
        case m.Finished():
            return pb.HostEvent(finished=_finished(value))
        case m.VmReport():
            report = pb.VmReport(vms=[_vm(vm) for vm in value.vms], used=_capacity(value.used))
            return pb.HostEvent(vm_report=report)
        case m.Inventory():
            images, templates = [_image(i) for i in value.images], [_template(t) for t in value.templates]
            return pb.HostEvent(inventory=pb.InventoryReport(images=images, templates=templates))
        case m.Cleaned():
            return pb.HostEvent(cleaned=_cleaned(value))
        case m.CommandUpdate():
            return pb.HostEvent(command_update=_command_update(value))


def welcome(value: pb.Welcome) -> m.Welcome:
    return m.Welcome(
        host_id=value.host_id,
        lease_ttl_s=value.lease_ttl_ms / 1000,
        renew_every_s=value.renew_every_ms / 1000,
        self_fence_s=value.self_fence_ms / 1000,
        resume_from=value.resume_from,
        cordoned=value.cordoned,
        reconnect_within_s=value.reconnect_within_ms / 1000,
    )


def _integers(value: Any) -> Any:
    """A Struct knows only doubles; whole numbers go back to what people wrote."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _integers(item) for key, item in value.items()}
        case list():
            return [_integers(item) for item in value]
        case _:
            return value


def _repository(value: pb.Repository) -> m.Repository:
    return m.Repository(
        url=value.url,
        default_branch=value.default_branch,
        dependencies=tuple(Dependency(d.ticket_key, d.ref, d.head) for d in value.dependencies),
        push_ref=value.push_ref,
        base_ref=value.base_ref,
        continue_from=value.continue_from,
    )


def _agent(value: pb.AgentBundle) -> m.AgentBundle:
    return m.AgentBundle(value.name, value.version, value.digest, tuple(value.command))


def _input(value: struct_pb2.Struct) -> str:
    return json.dumps(_integers(json_format.MessageToDict(value)), ensure_ascii=False)


def assignment(value: pb.Assignment) -> m.Assignment:
    wanted = value.resources
    return m.Assignment(
        attempt=ref_in(value.attempt),
        ticket_key=value.ticket_key,
        title=value.title,
        description=value.description,
        acceptance_criteria=tuple(value.acceptance_criteria),
        image=wanted.image,
        size=VmSize(wanted.vcpus, wanted.memory_mib, wanted.disk_mib),
        agent=_agent(value.agent),
        input=_input(value.input),
        repository=_repository(value.repository),
        test_command=value.test_command,
        timeout_s=value.timeout_s,
        project_id=value.project_id,
        number=value.number,
        workflow=value.workflow,
        steps=tuple(
            m.Step(step.name, step.description, _agent(step.agent), tuple(step.needs), _input(step.input))
            for step in value.steps
        ),
        stall_after_s=value.stall_after_s if value.HasField("stall_after_s") else -1,
        traceparent=value.traceparent if traceparent.parse(value.traceparent) else "",
    )


def _verb(value: pb.Command) -> m.Verb:  # noqa: PLR0911  # one line per kind
    match value.WhichOneof("verb"):
        case "boot_vms":
            return m.BootVms(value.boot_vms.count, value.boot_vms.image)
        case "vm":
            make = VM_VERBS.get(value.vm.verb)
            return make(value.vm.vm_id) if make else m.Unknown()
        case "build_image":
            return m.BuildImage(value.build_image.name)
        case "bake_template":
            bake = value.bake_template
            return m.BakeTemplate(bake.image, VmSize(bake.vcpus, bake.memory_mib))
        case "verify_template":
            return m.VerifyTemplate(value.verify_template.digest)
        case "cleanup":
            return m.Cleanup()
        case "open_console":
            return m.OpenConsole(value.open_console.vm_id)
        case _:
            return m.Unknown()


def control_event(value: pb.ControlEvent) -> m.ControlEvent:  # noqa: PLR0911  # one line per kind
    match value.WhichOneof("event"):
        case "assignment":
            return assignment(value.assignment)
        case "renewed":
            renewed = value.renewed
            return m.Renewed(renewed.nonce, refs_in(renewed.attempts), refs_in(renewed.stale))
        case "revoke":
            return m.Revoke(ref_in(value.revoke.attempt), value.revoke.reason)
        case "answer":
            return m.Answer(ref_in(value.answer.attempt), value.answer.number, value.answer.text)
        case "command":
            return m.Command(value.command.command_id, _verb(value.command))
        case "cordon":
            return m.Cordon(value.cordon.cordoned)
        case _:
            return m.Unknown()
