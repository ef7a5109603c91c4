"""FleetService."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message

from controlplane.api.bindings import Action, Bindings, Query, Stream
from controlplane.api.convert.common import page_in, whole_seconds
from controlplane.api.convert.host import host_out, image_out, progress_out, status_out, template_out
from controlplane.api.handlers.coordinator import Runtime
from controlplane.api.handlers.merged import merged
from controlplane.domain.call import Call
from controlplane.domain.host import Host
from controlplane.domain.lease import silent
from controlplane.errors import Unavailable
from controlplane.ports import CommandUpdate, Reader
from controlplane.usecases import hosts
from controlplane.usecases.services import Services
from controlplane.usecases.swarm import swarm_status
from swarm.fleet.v1 import fleet_pb2
from swarm.fleet.v1 import service_pb2 as pb

SERVICE = "swarm.fleet.v1.FleetService"

Answer = TypeVar("Answer", bound=Message)


def bindings(runtime: Runtime) -> Bindings:
    def shown(host: Host, call: Call) -> fleet_pb2.Host:
        connected = runtime.connected()
        return host_out(host, connected=host.id in connected, silent=silent(host, connected, call.now, runtime.times))

    def list_hosts(reader: Reader, call: Call, request: pb.ListHostsRequest) -> pb.ListHostsResponse:
        found, token = hosts.list_hosts(reader, call, page_in(request))
        return pb.ListHostsResponse(hosts=[shown(host, call) for host in found], next_page_token=token)

    def get(reader: Reader, call: Call, request: pb.GetHostRequest) -> pb.GetHostResponse:
        return pb.GetHostResponse(host=shown(hosts.get_host(reader, call, request.id), call))

    async def cordon(services: Services, call: Call, request: pb.CordonHostRequest) -> pb.CordonHostResponse:
        return pb.CordonHostResponse(host=shown(await hosts.cordon(services, call, request.id), call))

    async def uncordon(services: Services, call: Call, request: pb.UncordonHostRequest) -> pb.UncordonHostResponse:
        return pb.UncordonHostResponse(host=shown(await hosts.uncordon(services, call, request.id), call))

    async def drain(services: Services, call: Call, request: pb.DrainHostRequest) -> pb.DrainHostResponse:
        """No deadline: what runs may finish."""
        deadline = whole_seconds(request.deadline, "/deadline") if request.HasField("deadline") else None
        return pb.DrainHostResponse(host=shown(await hosts.drain(services, call, request.id, deadline), call))

    return {
        f"{SERVICE}.GetSwarmStatus": Action(status),
        f"{SERVICE}.ListHosts": Query(list_hosts),
        f"{SERVICE}.GetHost": Query(get),
        f"{SERVICE}.CordonHost": Action(cordon),
        f"{SERVICE}.UncordonHost": Action(uncordon),
        f"{SERVICE}.DrainHost": Action(drain),
        f"{SERVICE}.ListImages": Action(images),
        f"{SERVICE}.BuildImage": Stream(build_image),
        f"{SERVICE}.ListTemplates": Action(templates),
        f"{SERVICE}.BakeTemplate": Stream(bake_template),
        f"{SERVICE}.VerifyTemplate": Stream(verify_template),
    }


async def status(services: Services, call: Call, _request: pb.GetSwarmStatusRequest) -> pb.GetSwarmStatusResponse:
    fleet = services.fleet
    found = await services.store.read(lambda reader: swarm_status(reader, call, fleet.connected()))
    told = status_out(found, images=len(fleet.images()), templates=len(fleet.templates()))
    return pb.GetSwarmStatusResponse(status=told)


async def images(services: Services, call: Call, request: pb.ListImagesRequest) -> pb.ListImagesResponse:
    host_id = await one_host(services, call, request.host_id) if request.host_id else ""
    return pb.ListImagesResponse(images=[image_out(image) for image in services.fleet.images(host_id)])


async def templates(services: Services, call: Call, request: pb.ListTemplatesRequest) -> pb.ListTemplatesResponse:
    host_id = await one_host(services, call, request.host_id) if request.host_id else ""
    return pb.ListTemplatesResponse(templates=[template_out(each) for each in services.fleet.templates(host_id)])


def build_image(
    services: Services, call: Call, request: pb.BuildImageRequest
) -> AsyncGenerator[pb.BuildImageResponse, None]:
    return everywhere(
        services,
        call,
        request.host_id,
        ("build_image", {"name": request.name}),
        lambda host_id, update: pb.BuildImageResponse(progress=progress_out(host_id, update)),
    )


def bake_template(
    services: Services, call: Call, request: pb.BakeTemplateRequest
) -> AsyncGenerator[pb.BakeTemplateResponse, None]:
    arguments = {"image": request.image, "vcpus": request.vcpus, "memory_mib": request.memory_mib}
    return everywhere(
        services,
        call,
        request.host_id,
        ("bake_template", arguments),
        lambda host_id, update: pb.BakeTemplateResponse(progress=progress_out(host_id, update)),
    )


def verify_template(
    services: Services, call: Call, request: pb.VerifyTemplateRequest
) -> AsyncGenerator[pb.VerifyTemplateResponse, None]:
    return everywhere(
        services,
        call,
        request.host_id,
        ("verify_template", {"digest": request.digest}),
        lambda host_id, update: pb.VerifyTemplateResponse(progress=progress_out(host_id, update)),
    )


async def one_host(services: Services, call: Call, ident: str) -> str:
    """Id of the host that an id or a name means."""
    return (await services.store.read(lambda reader: hosts.get_host(reader, call, ident))).id


async def everywhere(
    services: Services,
    call: Call,
    ident: str,
    command: tuple[str, Mapping[str, Any]],
    answer: Callable[[str, CommandUpdate], Answer],
) -> AsyncGenerator[Answer, None]:
    """One command on one host, or on all that are attached when none is named; the first that fails ends it."""
    chosen = [await one_host(services, call, ident)] if ident else sorted(services.fleet.connected())
    if not chosen:
        raise Unavailable("no host is attached", reason="no_host")
    updates = {host_id: services.fleet.command(host_id, *command) for host_id in chosen}
    async for host_id, update in merged(updates):
        yield answer(host_id, update)
