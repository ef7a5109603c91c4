"""A console session: bytes between one VM and the control plane on a stream of their own, never parsed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import grpc.aio

from hostd.link.client import Link
from hostd.ports import Vm
from swarm.hostlink.v1 import service_pb2

if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[service_pb2.ConsoleRequest, service_pb2.ConsoleResponse]

log = logging.getLogger("hostd.link")

PIECE_BYTES = 32 << 10


async def relay_console(link: Link, command_id: str, vm: Vm) -> None:
    """Until either side ends; problems of the stream end it, they are nobody's failure."""
    call: Call = link.stub.Console(metadata=link.endpoint.metadata())
    output = asyncio.ensure_future(_output(call, command_id, vm))
    keys = asyncio.ensure_future(_keys(call, vm))
    try:
        await asyncio.wait({output, keys}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (output, keys):
            task.cancel()
        results = await asyncio.gather(output, keys, return_exceptions=True)
        call.cancel()
    for result in results:
        if isinstance(result, Exception):
            log.info("console ended", extra={"vm_id": vm.id, "reason": repr(result)[:200]})


async def _output(call: Call, command_id: str, vm: Vm) -> None:
    await call.write(service_pb2.ConsoleRequest(command_id=command_id))
    async for data in vm.console():
        for start in range(0, len(data), PIECE_BYTES):
            await call.write(service_pb2.ConsoleRequest(data=data[start : start + PIECE_BYTES]))
    await call.write(service_pb2.ConsoleRequest(closed=True))
    await call.done_writing()


async def _keys(call: Call, vm: Vm) -> None:
    while isinstance(response := await call.read(), service_pb2.ConsoleResponse):
        vm.type(response.data)


class LinkConsoles:
    """Console sessions over one link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def relay(self, command_id: str, vm: Vm) -> None:
        await relay_console(self._link, command_id, vm)
