"""One event to a thousand sockets: ours from the wake-up on, against `websockets.broadcast`.

Once as both do it by default with a client that offers compression, as browsers do, and once without.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from bench.measure import WARM_UP, Row, figures
from bench.ws_clients import raise_limit
from controlplane.domain.call import Principal, Role
from controlplane.domain.event import Event
from controlplane.events.bus import LocalBus
from controlplane.gateway.admission import Admission
from controlplane.gateway.events import frame_of
from controlplane.gateway.front import Front
from controlplane.gateway.headers import Origins
from controlplane.gateway.hub import Hub
from controlplane.gateway.listener import Address, HttpListener
from controlplane.gateway.rooms import Directory
from controlplane.gateway.ws import Sockets

NAME = "ws_fanout"
SUMMARY = "one event to 1,000 WebSockets: ours, and websockets.broadcast"

SOCKETS: Final = 1000
ROOM: Final = "tenant:default"
TENANT: Final = "default"
TOPIC: Final = "tickets"
DATA: Final = {"from": "ready", "to": "assigned", "ticket_id": "tk_1", "key": "TKT-001", "reason": "", "fence": 1}
OFFER: Final = "permessage-deflate; client_max_window_bits"  # that of browsers
T = TypeVar("T")


class Events:
    """As much of a store as a room needs."""

    def __init__(self) -> None:
        self.found: list[Event] = []

    def now(self) -> float:
        return 0.0

    async def read(self, query: Callable[[Any], T]) -> T:
        return query(self)

    def newest_event(self, topic: str) -> int:  # noqa: ARG002 - there is one
        return len(self.found)

    def events(self, topic: str, after: int, limit: int) -> Sequence[Event]:  # noqa: ARG002
        return self.found[after : after + limit]

    def tickets_by_id(self, ids: Sequence[str]) -> Sequence[Any]:  # noqa: ARG002
        return [self]

    id = "tk_1"
    tenant_id = TENANT


async def entered(_: Principal) -> None:
    """Limits are no part of this."""


class Ours:
    def __init__(self) -> None:
        self.events = Events()
        self.bus = LocalBus()
        self.hub = Hub(cast("Any", self.events), self.bus)

    async def start(self, stack: AsyncExitStack) -> int:
        principal = Principal("bench", Role.ADMIN)
        directory = Directory(frozenset, self.events.now)
        admission, origins = Admission(lambda _: principal), Origins()
        store = cast("Any", self.events)
        sockets = Sockets(store, self.hub, directory, admission, enter=entered, origins=origins)
        await sockets.start()
        stack.push_async_callback(sockets.stop)
        listener = HttpListener(Address("127.0.0.1", 0, Path(tempfile.mkdtemp(), "port")))
        await listener.start(Front({"ws": sockets.handle}, origins).handle)
        return listener.port

    async def tell(self) -> float:
        """Milliseconds of the processor until the last socket has it."""
        room = self.hub.room(ROOM)
        assert room is not None
        seq = len(self.events.found) + 1
        began = time.process_time()
        self.events.found.append(Event(TOPIC, seq, "ticket.state", time.time(), DATA))
        self.bus.notify((TOPIC,))
        while room.head < seq:  # noqa: ASYNC110 - a turn of the loop is what is waited for
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # uvloop writes at the end of a turn
        return (time.process_time() - began) * 1e3


class Theirs:
    def __init__(self, compression: str | None) -> None:
        self.compression = compression
        self.open: set[ServerConnection] = set()
        self.seq = 0

    async def start(self, stack: AsyncExitStack) -> int:
        server = await stack.enter_async_context(
            serve(self._keep, "127.0.0.1", 0, compression=self.compression, ping_interval=None)
        )
        return int(next(iter(server.sockets)).getsockname()[1])

    async def _keep(self, connection: ServerConnection) -> None:
        self.open.add(connection)
        await connection.wait_closed()

    async def tell(self) -> float:
        self.seq += 1
        began = time.process_time()
        event = Event(TOPIC, self.seq, "ticket.state", time.time(), DATA)
        message = {"type": "ticketUpdate", "room": ROOM, "seq": event.seq, "event": event.type, "data": event.data}
        broadcast(self.open, json.dumps(message))
        await asyncio.sleep(0)
        return (time.process_time() - began) * 1e3

    def floor(self, frame: bytes) -> float:
        """Milliseconds of the processor for the kernel alone: a frame that is there is written to every socket."""
        files = [each.transport.get_extra_info("socket").fileno() for each in self.open]
        began = time.process_time()
        for file in files:
            os.write(file, frame)
        return (time.process_time() - began) * 1e3


def clients(port: int, path: str, first: str, offer: str, stack: AsyncExitStack) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.ws_clients", str(port), path, str(SOCKETS), first, offer]
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(process.terminate)
    return process


async def measured(n: int, frame: bytes, offer: str) -> tuple[Collection[float], ...]:
    """Ours, theirs, and the floor of both."""
    async with AsyncExitStack() as stack:
        ours, theirs = Ours(), Theirs("deflate" if offer else None)
        subscribe = json.dumps({"type": "subscribe", "rooms": [ROOM]})
        own = clients(await ours.start(stack), "/ws?token=x", subscribe, offer, stack)
        other = clients(await theirs.start(stack), "/", "", offer, stack)
        for each in (own, other):
            assert each.stdout is not None
            await asyncio.get_running_loop().run_in_executor(None, each.stdout.readline)
        while (room := ours.hub.room(ROOM)) is None or len(room.members) < SOCKETS:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        taken: list[tuple[float, ...]] = []
        for _ in range(n + WARM_UP):
            ways = (await ours.tell(), await theirs.tell())
            await asyncio.sleep(0.05)  # the readers take what they got
            taken.append((*ways, theirs.floor(frame)))
            await asyncio.sleep(0.05)
        return tuple(zip(*taken[WARM_UP:], strict=True))


def run(n: int) -> list[Row]:
    """From the event to the last socket's write."""
    raise_limit()
    frame = frame_of(ROOM, Event(TOPIC, 1, "ticket.state", 0.0, DATA))
    return [
        *rows("as both do by default", frame.packed, uvloop.run(measured(n, frame.packed, OFFER)), ">= 2x"),
        *rows("uncompressed", frame.plain, uvloop.run(measured(n, frame.plain, ""))),
    ]


def rows(way: str, frame: bytes, found: Collection[Collection[float]], goal: str = "") -> list[Row]:
    ours, theirs, floor = (figures([*each]) for each in found)
    note = f"of the processor; frames of {len(frame)} bytes; ours with its wake-up and its read"
    return [
        Row(f"event to 1,000 sockets, {way}", "ms", ours, "websockets.broadcast", theirs, goal, note),
        Row(f"1,000 sends of the kernel, which both make, {way}", "ms", floor),
    ]
