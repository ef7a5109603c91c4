"""Hosts, and what lies on them: images and templates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from swarm.fleet.v1 import service_pb2 as pb
from swarm.fleet.v1.fleet_pb2 import Host, Image, Progress, SwarmStatus, Template
from swarm.fleet.v1.service_pb2_grpc import FleetServiceStub
from swarm_sdk.paging import Paged
from swarm_sdk.transport import Transport


class Hosts:
    """Everywhere `ident` is a host's id (`hs_...`) or name."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = FleetServiceStub(transport.channel)

    def list(self, *, limit: int = 0) -> Paged[Host]:
        async def page(token: str, size: int) -> tuple[Sequence[Host], str]:
            request = pb.ListHostsRequest(page_size=size, page_token=token)
            answer = await self._transport.read(self._stub.ListHosts, request)
            return answer.hosts, answer.next_page_token

        return Paged(page, limit)

    async def swarm(self) -> SwarmStatus:
        """All hosts as one."""
        return (await self._transport.read(self._stub.GetSwarmStatus, pb.GetSwarmStatusRequest())).status

    async def get(self, ident: str) -> Host:
        return (await self._transport.read(self._stub.GetHost, pb.GetHostRequest(id=ident))).host

    async def cordon(self, ident: str, *, key: str = "") -> Host:
        """Places nothing new on it; what runs goes on."""
        request = pb.CordonHostRequest(id=ident)
        return (await self._transport.change(self._stub.CordonHost, request, key=key)).host

    async def uncordon(self, ident: str, *, key: str = "") -> Host:
        request = pb.UncordonHostRequest(id=ident)
        return (await self._transport.change(self._stub.UncordonHost, request, key=key)).host

    async def drain(self, ident: str, *, deadline_s: float | None = None, key: str = "") -> Host:
        """Cordons it; what still runs after `deadline_s` seconds is placed elsewhere, without one it may finish."""
        request = pb.DrainHostRequest(id=ident)
        if deadline_s is not None:
            request.deadline.FromMilliseconds(round(deadline_s * 1000))
        return (await self._transport.change(self._stub.DrainHost, request, key=key)).host

    async def images(self, *, host: str = "") -> Sequence[Image]:
        return (await self._transport.read(self._stub.ListImages, pb.ListImagesRequest(host_id=host))).images

    def build_image(self, name: str = "", *, host: str = "") -> AsyncIterator[Progress]:
        """Builds an image (the default one when no name is given) on one host, or on every online host."""
        request = pb.BuildImageRequest(name=name, host_id=host)
        return _progress(self._transport.stream(self._stub.BuildImage, request))

    async def templates(self, *, host: str = "") -> Sequence[Template]:
        return (await self._transport.read(self._stub.ListTemplates, pb.ListTemplatesRequest(host_id=host))).templates

    def bake_template(
        self, image: str = "", *, host: str = "", vcpus: int = 0, memory_mib: int = 0
    ) -> AsyncIterator[Progress]:
        """Bakes a template; sizes of 0 take the image's."""
        request = pb.BakeTemplateRequest(image=image, host_id=host, vcpus=vcpus, memory_mib=memory_mib)
        return _progress(self._transport.stream(self._stub.BakeTemplate, request))

    def verify_template(self, digest: str = "all", *, host: str = "") -> AsyncIterator[Progress]:
        """Hashes the files of a template again; `FailedPreconditionError` when they differ."""
        request = pb.VerifyTemplateRequest(digest=digest, host_id=host)
        return _progress(self._transport.stream(self._stub.VerifyTemplate, request))


async def _progress(
    answers: AsyncIterator[pb.BuildImageResponse]
    | AsyncIterator[pb.BakeTemplateResponse]
    | AsyncIterator[pb.VerifyTemplateResponse],
) -> AsyncIterator[Progress]:
    async for answer in answers:
        yield answer.progress
