"""The broker process: live attempts by slot, one listening socket each."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import socket
from dataclasses import dataclass, field

from hostd import network
from hostd.broker.attempt import Attempt, Terms
from hostd.broker.connection import Connection
from hostd.broker.http1 import HEAD_LIMIT
from hostd.broker.routes import serve
from hostd.broker.wire import Channel, Kind, Message

CONNECTIONS = 16
RINGS = 10
RING_EVERY_S = 1.0
_BACKLOG = 16


@dataclass(slots=True)
class _Live:
    attempt: Attempt
    listener: socket.socket
    doorbell: socket.socket | None
    server: asyncio.Server | None = None
    connections: set[asyncio.Task[None]] = field(default_factory=set)
    ringing: asyncio.Task[None] | None = None


class Service:
    """Obeys hostd over `control`; `run` ends when hostd is gone."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._channel: Channel | None = None
        self._live: dict[int, _Live] = {}
        self._ended = asyncio.Event()
        self._orders: asyncio.Queue[tuple[Message, list[int]]] = asyncio.Queue()

    async def run(self) -> None:
        """Orders are carried out one by one, in the order in which they came."""
        self._channel = Channel(
            self._control, lambda message, fds: self._orders.put_nowait((message, fds)), self._ended.set
        )
        self._channel.send(Message(Kind.READY, 0))
        obeying = asyncio.create_task(self._obey_all())
        await self._ended.wait()
        obeying.cancel()
        for slot in list(self._live):
            await self._detach(slot)

    async def _obey_all(self) -> None:
        while True:
            message, fds = await self._orders.get()
            await self._obey(message, fds)

    async def _obey(self, message: Message, fds: list[int]) -> None:
        live = self._live.get(message.slot)
        if message.kind == Kind.ATTACH:
            await self._attach(message, fds)
        elif message.kind == Kind.PING:
            assert self._channel is not None
            self._channel.send(Message(Kind.READY, 0))
        elif live is not None:
            await self._obey_about(live, message)

    async def _obey_about(self, live: _Live, message: Message) -> None:
        match message.kind:
            case Kind.DETACH:
                await self._detach(message.slot)
            case Kind.SUSPEND:
                await self._stop_serving(live)
            case Kind.RESTORE:
                await self._serve(live)
            case Kind.RING:
                self._ring(live)
            case Kind.ASK:
                self._ask(live)
            case Kind.ANSWER:
                live.attempt.answer(message.value, message.payload.decode())
            case Kind.PUSHED:
                live.attempt.settle_push(message.payload.decode(), taken=message.value == 1)

    async def _attach(self, message: Message, fds: list[int]) -> None:
        await self._detach(message.slot)
        fields = json.loads(message.payload)
        rest = iter(fds)
        listener = socket.socket(fileno=next(rest))
        doorbell = socket.socket(fileno=next(rest)) if fields["doorbell"] else None
        bundles = {digest: next(rest) for digest in fields["bundles"]}
        assert self._channel is not None
        attempt = Attempt(message.slot, Terms.of(fields), bundles, self._channel.send)
        live = self._live[message.slot] = _Live(attempt, listener, doorbell)
        await self._serve(live)

    async def _detach(self, slot: int) -> None:
        live = self._live.pop(slot, None)
        if live is None:
            return
        await self._stop_serving(live)
        live.attempt.close()
        live.listener.close()
        if live.doorbell is not None:
            live.doorbell.close()

    async def _serve(self, live: _Live) -> None:
        if live.server is not None:
            return
        own = live.listener.dup()
        own.settimeout(0)

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = Connection(reader, writer)
            if len(live.connections) >= CONNECTIONS or live.server is None:
                connection.abort()
                return
            task = asyncio.create_task(self._connected(live, connection))
            live.connections.add(task)
            task.add_done_callback(live.connections.discard)
            # Not within the task: one that is cancelled before its first turn runs nothing of itself.
            task.add_done_callback(lambda _: connection.abort())

        live.server = await asyncio.start_server(connected, sock=own, limit=HEAD_LIMIT, backlog=_BACKLOG)

    async def _stop_serving(self, live: _Live) -> None:
        if live.ringing is not None:
            live.ringing.cancel()
        if live.server is not None:
            live.server.close()
            live.server = None
        for task in list(live.connections):
            task.cancel()
        if live.connections:
            await asyncio.wait(live.connections, timeout=5)

    async def _connected(self, live: _Live, connection: Connection) -> None:
        assert self._channel is not None
        live.attempt.saw_life()
        await self._channel.drained()
        await serve(live.attempt, connection)

    @staticmethod
    def _ask(live: _Live) -> None:
        live.attempt.ask()
        if live.doorbell is not None:
            with contextlib.suppress(OSError):  # the queue of a guest that stands still
                _send(live.doorbell, b"ping")

    def _ring(self, live: _Live) -> None:
        if live.ringing is not None:
            live.ringing.cancel()
        live.ringing = asyncio.create_task(_ring(live))


async def _ring(live: _Live) -> None:
    """A datagram may come before the guest's network is up again, so it is repeated until the guest answers."""
    bell = live.doorbell
    if bell is None:
        return
    for _ in range(RINGS):
        if live.attempt.first_byte_ns:
            return
        with contextlib.suppress(OSError):
            _send(bell, b"wake")
        await asyncio.sleep(RING_EVERY_S)


def _send(bell: socket.socket, word: bytes) -> None:
    try:
        bell.getpeername()
    except OSError:
        bell.sendto(word, socket.MSG_DONTWAIT, (network.GUEST_IP, network.DOORBELL))
    else:
        bell.send(word, socket.MSG_DONTWAIT)


def adopt(fd: int) -> socket.socket:
    """The control socket from its inherited descriptor."""
    fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    return socket.socket(fileno=fd)
