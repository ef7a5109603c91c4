"""Consoles: what a caller types goes to the host that has the VM, and what the VM says comes back.

The host opens a stream of its own for each, so that console bytes never delay its link.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from controlplane.errors import InvalidInput, NotFound, SwarmError, Unavailable
from controlplane.fleet.commands import Commands, Pending
from controlplane.fleet.peer import Peer
from controlplane.fleet.wire import command_out
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2

OPEN_TIMEOUT_S: Final = 15.0
AHEAD: Final = 64


class Bridge:
    """Two bounded queues; None ends a direction."""

    def __init__(self, host_id: str) -> None:
        self.host_id = host_id
        self.keys: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)
        self.output: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)
        self.opened = asyncio.Event()

    def end(self) -> None:
        """Both sides stop, whatever is still in the queues."""
        for queue in (self.keys, self.output):
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(None)


class Consoles:
    """The open consoles, by the id of the command that asked the host for them."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._bridges: dict[str, Bridge] = {}

    async def open(self, peer: Peer, vm_id: str, keys: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Output of a VM until it ends, its host goes, or `keys` end."""
        command_id, pending = self._commands.open(peer.host_id)
        bridge = self._bridges[command_id] = Bridge(peer.host_id)
        peer.tell(pb.ControlEvent(command=command_out(command_id, "open_console", {"vm_id": vm_id})))
        typing = asyncio.create_task(self._type(bridge, keys))
        watching = asyncio.create_task(self._watch(bridge, pending))
        try:
            await self._opened(bridge, watching)
            while (data := await bridge.output.get()) is not None:
                yield data
            for task in (watching, typing):
                if task.done():
                    task.result()
        finally:
            del self._bridges[command_id]
            self._commands.close(command_id)
            bridge.end()
            for task in (typing, watching):
                task.cancel()
            await asyncio.gather(typing, watching, return_exceptions=True)

    async def _opened(self, bridge: Bridge, watching: asyncio.Task[None]) -> None:
        opening = asyncio.create_task(bridge.opened.wait())
        try:
            await asyncio.wait((opening, watching), timeout=OPEN_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if watching.done() and not bridge.opened.is_set():
                watching.result()
            if not bridge.opened.is_set():
                raise Unavailable("the host does not open the console", reason="console_not_opened")
        finally:
            opening.cancel()

    async def _type(self, bridge: Bridge, keys: AsyncIterator[bytes]) -> None:
        try:
            async for data in keys:
                await bridge.keys.put(data)
        finally:
            bridge.end()

    async def _watch(self, bridge: Bridge, pending: Pending) -> None:
        """Raises what the host says against it, such as that it has no such VM."""
        while True:
            update = await pending.updates.get()
            if isinstance(update, SwarmError):
                bridge.end()
                raise update

    async def serve(
        self, host_id: str, requests: AsyncIterator[service_pb2.ConsoleRequest]
    ) -> AsyncGenerator[service_pb2.ConsoleResponse, None]:
        """The host's side: its first message names the command."""
        first = await anext(requests, None)
        if first is None:
            raise InvalidInput("the first message names the command", reason="no_request")
        bridge = self._bridges.get(first.command_id)
        if bridge is None or bridge.host_id != host_id or bridge.opened.is_set():
            raise NotFound("nobody waits for this console")
        bridge.opened.set()
        reading = asyncio.create_task(self._read(bridge, requests))
        try:
            while (data := await bridge.keys.get()) is not None:
                yield service_pb2.ConsoleResponse(data=data)
        finally:
            bridge.end()
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, SwarmError):
                await reading

    async def _read(self, bridge: Bridge, requests: AsyncIterator[service_pb2.ConsoleRequest]) -> None:
        try:
            async for request in requests:
                if request.closed:
                    return
                await bridge.output.put(request.data)
        finally:
            bridge.end()
