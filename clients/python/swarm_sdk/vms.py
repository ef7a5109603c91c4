"""VMs: see them, boot them by hand, stop them, type into them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from google.protobuf.duration_pb2 import Duration
from grpc.aio import AioRpcError, StreamStreamCall

from swarm.vm.v1 import service_pb2 as pb
from swarm.vm.v1.service_pb2 import CleanupVmsResponse, GetVmHealthResponse
from swarm.vm.v1.service_pb2_grpc import VmServiceStub
from swarm.vm.v1.vm_pb2 import Vm, VmSample
from swarm_sdk.errors import from_rpc
from swarm_sdk.paging import Paged
from swarm_sdk.transport import Transport

BOOT_TIMEOUT_S = 600.0
LARGEST_WRITE = 65536


class Console:
    """One open console: iterate for output, `write` for input, `close` when done."""

    def __init__(self, call: StreamStreamCall[pb.ConsoleRequest, pb.ConsoleResponse]) -> None:
        self._call = call

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), LARGEST_WRITE):
            await self._send(pb.ConsoleRequest(data=data[start : start + LARGEST_WRITE]))

    async def _send(self, request: pb.ConsoleRequest) -> None:
        try:
            await self._call.write(request)
        except asyncio.InvalidStateError:
            return  # it is over; the reading side tells why
        except AioRpcError as fault:
            raise from_rpc(fault) from None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for answer in self._call:
                yield answer.data
        except AioRpcError as fault:
            raise from_rpc(fault) from None

    async def close(self) -> None:
        self._call.cancel()


class Vms:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = VmServiceStub(transport.channel)

    def list(self, *, host_id: str = "", include_stopped: bool = False, limit: int = 0) -> Paged[Vm]:
        async def page(token: str, size: int) -> tuple[Sequence[Vm], str]:
            request = pb.ListVmsRequest(
                page_size=size, page_token=token, host_id=host_id, include_stopped=include_stopped
            )
            answer = await self._transport.read(self._stub.ListVms, request)
            return answer.vms, answer.next_page_token

        return Paged(page, limit)

    def list_unhealthy(self, *, host_id: str = "", include_stopped: bool = False, limit: int = 0) -> Paged[Vm]:
        """VMs that are unhealthy, or on a host that is away; `include_stopped`: those ended for it too."""

        async def page(token: str, size: int) -> tuple[Sequence[Vm], str]:
            request = pb.ListUnhealthyVmsRequest(
                page_size=size, page_token=token, host_id=host_id, include_stopped=include_stopped
            )
            answer = await self._transport.read(self._stub.ListUnhealthyVms, request)
            return answer.vms, answer.next_page_token

        return Paged(page, limit)

    async def health(self, ident: str) -> GetVmHealthResponse:
        return await self._transport.read(self._stub.GetVmHealth, pb.GetVmHealthRequest(id=ident))

    async def cleanup(self, *, older_than_s: float = 0.0, key: str = "") -> CleanupVmsResponse:
        """Ends VMs that were booted by hand, so many seconds ago at least."""
        age = Duration()
        age.FromMilliseconds(round(older_than_s * 1000))
        return await self._transport.change(self._stub.CleanupVms, pb.CleanupVmsRequest(older_than=age), key=key)

    async def get(self, vm_id: str) -> Vm:
        return (await self._transport.read(self._stub.GetVm, pb.GetVmRequest(id=vm_id))).vm

    async def boot(self, count: int = 1, *, image: str = "", host_id: str = "", key: str = "") -> Sequence[Vm]:
        """Boots VMs that belong to no ticket; they live until `delete` or the next cleanup."""
        request = pb.BootVmsRequest(count=count, image=image, host_id=host_id)
        return (await self._transport.change(self._stub.BootVms, request, key=key, timeout_s=BOOT_TIMEOUT_S)).vms

    async def pause(self, vm_id: str, *, key: str = "") -> Vm:
        return (await self._transport.change(self._stub.PauseVm, pb.PauseVmRequest(id=vm_id), key=key)).vm

    async def resume(self, vm_id: str, *, key: str = "") -> Vm:
        return (await self._transport.change(self._stub.ResumeVm, pb.ResumeVmRequest(id=vm_id), key=key)).vm

    async def delete(self, vm_id: str, *, key: str = "") -> None:
        """Terminates the VM; an attempt in it is lost and its ticket is placed again."""
        await self._transport.change(self._stub.DeleteVm, pb.DeleteVmRequest(id=vm_id), key=key)

    async def stats(self, vm_id: str) -> Sequence[VmSample]:
        """Usage over time, oldest first."""
        return (await self._transport.read(self._stub.GetVmStats, pb.GetVmStatsRequest(id=vm_id))).samples

    async def watch(self, vm_id: str) -> AsyncGenerator[Vm, None]:
        """The VM as it is, then whenever that changes; ends once it has stopped."""
        request = pb.WatchVmRequest(id=vm_id)
        async with contextlib.aclosing(self._transport.resume(self._stub.WatchVm, lambda: request)) as answers:
            async for answer in answers:
                yield answer.vm

    async def console(self, vm_id: str) -> Console:
        """Opens the serial console."""
        await self._transport.fresh()
        call = self._stub.Console(metadata=self._transport.metadata())
        console = Console(call)
        await console._send(pb.ConsoleRequest(vm_id=vm_id))  # noqa: SLF001  # the first message names the VM
        return console
