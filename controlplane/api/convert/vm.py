"""VMs and what they use."""

from __future__ import annotations

import math
from typing import Final

from controlplane.api.convert.common import enum_out, seconds, timestamp
from controlplane.api.convert.ticket import boot_in, boot_out, isolation_in, isolation_out
from controlplane.domain.vm import Vm, VmHealth, VmSample, VmState
from swarm.vm.v1 import vm_pb2 as pb

LONGEST: Final = 128
HEALTH: Final = {pb.VmHealth.Value(f"VM_HEALTH_{health.name}"): health for health in VmHealth}


def sample_in(message: pb.VmSample) -> VmSample:
    return VmSample(
        time=seconds(message.time),
        cpu_seconds=message.cpu_seconds if math.isfinite(message.cpu_seconds) else 0.0,
        memory_bytes=message.memory_bytes,
        private_bytes=message.private_bytes,
        read_bytes=message.read_bytes,
        write_bytes=message.write_bytes,
    )


def sample_out(sample: VmSample) -> pb.VmSample:
    return pb.VmSample(
        time=timestamp(sample.time),
        cpu_seconds=sample.cpu_seconds,
        memory_bytes=sample.memory_bytes,
        private_bytes=sample.private_bytes,
        read_bytes=sample.read_bytes,
        write_bytes=sample.write_bytes,
    )


def vm_in(message: pb.Vm, host_id: str) -> Vm:
    """A VM as a host reports it: it is the reporting host's, whatever it says. Unknown states count as stopped."""
    known = {pb.VmState.Value(f"VM_STATE_{state.name}"): state for state in VmState}
    return Vm(
        id=message.id,
        host_id=host_id,
        state=known.get(message.state, VmState.STOPPED),
        driver=message.driver[:LONGEST],
        isolation=isolation_in(message.isolation),
        image=message.image[:LONGEST],
        template=message.template[:LONGEST],
        vcpus=message.vcpus,
        memory_mib=message.memory_mib,
        disk_mib=message.disk_mib,
        created_at=seconds(message.created_at),
        ticket_id=message.ticket_id[:LONGEST],
        attempt_id=message.attempt_id[:LONGEST],
        boot=boot_in(message.boot),
        stopped_at=seconds(message.stopped_at) if message.HasField("stopped_at") else None,
        sample=sample_in(message.last_sample) if message.HasField("last_sample") else None,
        health=HEALTH.get(message.health, VmHealth.UNKNOWN),
        last_seen_at=seconds(message.last_seen_at) if message.HasField("last_seen_at") else None,
        misses=message.misses,
    )


def vm_out(vm: Vm) -> pb.Vm:
    return pb.Vm(
        id=vm.id,
        host_id=vm.host_id,
        ticket_id=vm.ticket_id,
        attempt_id=vm.attempt_id,
        state=enum_out(pb.VmState, "VM_STATE", vm.state),
        driver=vm.driver,
        isolation=isolation_out(vm.isolation),
        image=vm.image,
        template=vm.template,
        vcpus=vm.vcpus,
        memory_mib=vm.memory_mib,
        disk_mib=vm.disk_mib,
        boot=boot_out(vm.boot),
        created_at=timestamp(vm.created_at),
        stopped_at=timestamp(vm.stopped_at),
        last_sample=sample_out(vm.sample) if vm.sample else None,
        health=enum_out(pb.VmHealth, "VM_HEALTH", vm.health),
        last_seen_at=timestamp(vm.last_seen_at),
        misses=vm.misses,
    )
