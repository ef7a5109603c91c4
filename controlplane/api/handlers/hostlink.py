"""HostLinkService: served by the fleet, through the same pipeline as everything else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from controlplane.api.bindings import Bindings, Stream
from controlplane.domain.call import Call
from swarm.hostlink.v1 import service_pb2 as pb

SERVICE = "swarm.hostlink.v1.HostLinkService"


class HostLinkServer(Protocol):
    def attach(
        self, call: Call, requests: AsyncIterator[pb.AttachRequest]
    ) -> AsyncGenerator[pb.AttachResponse, None]: ...
    def fetch_bundle(
        self, call: Call, request: pb.FetchBundleRequest
    ) -> AsyncGenerator[pb.FetchBundleResponse, None]: ...
    def serve_console(
        self, call: Call, requests: AsyncIterator[pb.ConsoleRequest]
    ) -> AsyncGenerator[pb.ConsoleResponse, None]: ...


def bindings(link: HostLinkServer) -> Bindings:
    return {
        f"{SERVICE}.Attach": Stream(lambda _services, call, requests: link.attach(call, requests)),
        f"{SERVICE}.FetchBundle": Stream(lambda _services, call, request: link.fetch_bundle(call, request)),
        f"{SERVICE}.Console": Stream(lambda _services, call, requests: link.serve_console(call, requests)),
    }
