"""Hosts, images, templates, progress."""

from __future__ import annotations

from controlplane.api.convert.common import enum_out, seconds, timestamp
from controlplane.api.convert.ticket import isolation_out
from controlplane.domain.host import Capacity, Host
from controlplane.domain.image import Image, Template
from controlplane.ports import CommandUpdate
from controlplane.usecases.swarm import SwarmStatus
from swarm.fleet.v1 import fleet_pb2 as pb


def capacity_in(message: pb.Capacity) -> Capacity:
    return Capacity(message.vms, message.vcpus, message.memory_mib, message.disk_mib)


def capacity_out(capacity: Capacity) -> pb.Capacity:
    return pb.Capacity(
        vms=capacity.vms, vcpus=capacity.vcpus, memory_mib=capacity.memory_mib, disk_mib=capacity.disk_mib
    )


def host_out(host: Host, *, connected: bool, silent: bool) -> pb.Host:
    return pb.Host(
        id=host.id,
        name=host.name,
        state=enum_out(pb.HostState, "HOST_STATE", host.state),
        drivers=host.drivers,
        isolation=isolation_out(host.isolation),
        capacity=capacity_out(host.capacity),
        used=capacity_out(host.used),
        labels=host.labels,
        version=host.version,
        last_seen_at=timestamp(host.last_seen_at),
        joined_at=timestamp(host.joined_at),
        warnings=host.warnings,
        connected=connected,
        silent=silent,
    )


def status_out(status: SwarmStatus, *, images: int, templates: int) -> pb.SwarmStatus:
    return pb.SwarmStatus(
        hosts=status.hosts,
        hosts_by_state={state.value: count for state, count in status.hosts_by_state.items()},
        hosts_connected=status.hosts_connected,
        capacity=capacity_out(status.capacity),
        used=capacity_out(status.used),
        images=images,
        templates=templates,
        vms=status.vms,
        vms_unhealthy=status.vms_unhealthy,
        agents=status.agents,
        queue_depth=status.queue_depth,
        placing=status.placing,
    )


def image_in(message: pb.Image, host_id: str) -> Image:
    return Image(
        name=message.name,
        digest=message.digest,
        host_id=host_id,
        size_bytes=message.size_bytes,
        vcpus=message.vcpus,
        memory_mib=message.memory_mib,
        disk_mib=message.disk_mib,
        built_at=seconds(message.built_at),
    )


def image_out(image: Image) -> pb.Image:
    return pb.Image(
        name=image.name,
        digest=image.digest,
        host_id=image.host_id,
        size_bytes=image.size_bytes,
        vcpus=image.vcpus,
        memory_mib=image.memory_mib,
        disk_mib=image.disk_mib,
        built_at=timestamp(image.built_at),
    )


def template_in(message: pb.Template, host_id: str) -> Template:
    return Template(
        digest=message.digest,
        image=message.image,
        image_digest=message.image_digest,
        host_id=host_id,
        driver=message.driver,
        driver_version=message.driver_version,
        vcpus=message.vcpus,
        memory_mib=message.memory_mib,
        size_bytes=message.size_bytes,
        baked_at=seconds(message.baked_at),
    )


def template_out(template: Template) -> pb.Template:
    return pb.Template(
        digest=template.digest,
        image=template.image,
        image_digest=template.image_digest,
        host_id=template.host_id,
        driver=template.driver,
        driver_version=template.driver_version,
        vcpus=template.vcpus,
        memory_mib=template.memory_mib,
        size_bytes=template.size_bytes,
        baked_at=timestamp(template.baked_at),
    )


def progress_out(host_id: str, update: CommandUpdate) -> pb.Progress:
    return pb.Progress(host_id=host_id, fraction=update.fraction, message=update.message, done=update.done)
