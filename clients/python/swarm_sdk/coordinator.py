"""The coordinator: whether and how far tickets are placed."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from swarm.coordinator.v1 import service_pb2 as pb
from swarm.coordinator.v1.coordinator_pb2 import CleanupReport, CoordinatorStatus, Failures
from swarm.coordinator.v1.service_pb2_grpc import CoordinatorServiceStub
from swarm_sdk.transport import Transport


class Coordinator:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = CoordinatorServiceStub(transport.channel)

    async def status(self) -> CoordinatorStatus:
        return (await self._transport.read(self._stub.GetStatus, pb.GetStatusRequest())).status

    async def failures(self, *, window_s: int = 86400) -> Failures:
        """Attempts that failed within the last so many seconds, counted by cause, fault, host and agent."""
        request = pb.GetFailuresRequest(window=Duration(seconds=window_s))
        return (await self._transport.read(self._stub.GetFailures, request)).failures

    async def start(self, *, max_vms: int = 0, key: str = "") -> CoordinatorStatus:
        """Places tickets again; `max_vms` caps the VMs of all hosts together, 0 leaves the cap as it is."""
        request = pb.StartRequest(max_vms=max_vms)
        return (await self._transport.change(self._stub.Start, request, key=key)).status

    async def stop(self, *, key: str = "") -> CoordinatorStatus:
        """Places nothing new; what runs goes on."""
        return (await self._transport.change(self._stub.Stop, pb.StopRequest(), key=key)).status

    async def cleanup(self, *, key: str = "") -> CleanupReport:
        """Removes what nothing needs any more, on every host that is online."""
        return (await self._transport.change(self._stub.Cleanup, pb.CleanupRequest(), key=key)).report
