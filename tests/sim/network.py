"""gRPC between hosts and control plane, in memory: streams that are slow, stall, break, or go silent without breaking.

What TCP promises holds: within one stream messages arrive in order and once. Everything else is up to the faults. A
stream that broke for one end may live on for the other, which then hears from two streams of the same host.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any, cast

import grpc
import grpc.aio

from swarm.hostlink.v1 import service_pb2 as pb
from tests.sim.loop import VirtualLoop

CONNECT_TIMEOUT_S = 20.0
SLOWEST_NEWS_S = 25.0  # after which an end hears at last that its stream broke


@dataclass(frozen=True, slots=True)
class End:
    """`code` None: the stream ended well."""

    code: grpc.StatusCode | None = None
    details: str = ""


def failure(end: End) -> grpc.aio.AioRpcError:
    code = end.code or grpc.StatusCode.UNAVAILABLE
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=end.details)


class Pipe:
    """One direction of a stream."""

    def __init__(self, network: Network, host_id: str) -> None:
        self._network = network
        self._host_id = host_id
        self._items: deque[bytes | End] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._clear_at = 0.0
        self.mute = False
        self.broken = False
        self.on_end: Callable[[], object] = lambda: None

    def send(self, item: bytes | End) -> None:
        if not self.mute and not self.broken:
            # Never two at one moment: only then is their order that of the calls.
            self._clear_at = max(self._clear_at + 1e-6, self._network.arrival(self._host_id))
            self._network.at(self._clear_at, lambda: self._arrive(item))

    def end(self, end: End, after_s: float) -> None:
        """The other end is told nothing more but that it is over, as a reset does."""

        def arrive() -> None:
            if not self.broken:
                self._arrive(end)
                self.broken = True

        self._network.at(self._network.loop.now + after_s, arrive)

    def _arrive(self, item: bytes | End) -> None:
        if self.broken or self.mute:
            return
        self._items.append(item)
        if isinstance(item, End):
            self.on_end()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> bytes | End:
        while not self._items:
            self._waiter = self._network.loop.create_future()
            await self._waiter
        return self._items.popleft() if not isinstance(self._items[0], End) else self._items[0]


class Connection:
    """One Attach stream: `up` from the host, `down` to it."""

    def __init__(self, network: Network, host_id: str) -> None:
        self.host_id = host_id
        self.network = network
        self.up = Pipe(network, host_id)
        self.down = Pipe(network, host_id)
        self.open: asyncio.Future[None] = network.loop.create_future()
        self.closed = False  # by the host
        self.boot_id = ""  # that the host said
        self.acked = 0  # the newest message that it was told to forget

    # The host's end: what hostd.link.stream uses of a gRPC call

    async def write(self, request: pb.AttachRequest) -> None:
        await self.open
        if self.closed:
            raise asyncio.InvalidStateError
        self.up.send(request.SerializeToString())

    async def read(self) -> Any:
        await self.open
        item = await self.down.receive()
        if isinstance(item, End):
            if item.code is None:
                return grpc.aio.EOF
            raise failure(item)
        return pb.AttachResponse.FromString(item)

    def cancel(self) -> None:
        if not self.closed:
            self.closed = True
            self.up.send(End(grpc.StatusCode.CANCELLED))

    # The control plane's end

    async def requests(self) -> AsyncIterator[pb.AttachRequest]:
        while not isinstance(item := await self.up.receive(), End):
            yield pb.AttachRequest.FromString(item)


class Channel:
    """Stands for grpc.aio.Channel on one host: it knows streams only."""

    def __init__(self, network: Network, host_id: str) -> None:
        self._network = network
        self._host_id = host_id
        self._last: Connection | None = None

    def stream_stream(self, *_: Any, **__: Any) -> Callable[..., Connection]:
        return lambda **_: self._connect()

    def _connect(self) -> Connection:
        self._last = self._network.connect(self._host_id)
        return self._last

    async def close(self) -> None:
        if self._last is not None:
            self._last.cancel()

    def unary_stream(self, *_: Any, **__: Any) -> None:
        """Bundles are not fetched here."""


class Network:
    """`listener` takes a connection in, or is None while nobody listens."""

    def __init__(self, loop: VirtualLoop, chance: random.Random, delay_s: float) -> None:
        self.loop = loop
        self.listener: Callable[[Connection], None] | None = None
        self._chance = chance
        self._delay_s = delay_s
        self._context = Context()
        self._stalled: dict[str, float] = {}
        self._slow: dict[str, tuple[float, float]] = {}
        self._live: dict[str, list[Connection]] = {}

    def channel(self, host_id: str) -> grpc.aio.Channel:
        return cast("grpc.aio.Channel", Channel(self, host_id))

    def at(self, when: float, act: Callable[[], None]) -> None:
        """What is on its way belongs to no process: it arrives though its sender has died."""
        self.loop.call_at(when, act, context=self._context)

    def arrival(self, host_id: str) -> float:
        now = self.loop.now
        until, extra = self._slow.get(host_id, (0.0, 0.0))
        delay = self._chance.uniform(0.1, 1) * (self._delay_s + (extra if now < until else 0.0))
        return max(now, self._stalled.get(host_id, 0.0)) + delay

    def connect(self, host_id: str) -> Connection:
        connection = Connection(self, host_id)
        if self._stalled.get(host_id, 0.0) > self.loop.now + CONNECT_TIMEOUT_S:
            self.at(self.loop.now + CONNECT_TIMEOUT_S, lambda: self._refuse(connection))
        else:
            self.at(self.arrival(host_id), lambda: self._accept(connection))
        return connection

    def _accept(self, connection: Connection) -> None:
        if self.listener is None or connection.closed:
            self._refuse(connection)
            return
        self._live.setdefault(connection.host_id, []).append(connection)
        if not connection.open.done():
            connection.open.set_result(None)
        self.listener(connection)

    def _refuse(self, connection: Connection) -> None:
        if not connection.open.done():
            connection.open.set_exception(failure(End(grpc.StatusCode.UNAVAILABLE, "connection refused")))
            connection.open.exception()

    # Faults

    def stall(self, host_id: str, seconds: float) -> None:
        """Nothing passes for a while; what was sent arrives then, as TCP repeats it."""
        self._stalled[host_id] = max(self._stalled.get(host_id, 0.0), self.loop.now + seconds)

    def slow(self, host_id: str, seconds: float, extra_s: float) -> None:
        self._slow[host_id] = (self.loop.now + seconds, extra_s)

    def cut(self, host_id: str) -> None:
        """The streams break; each end hears of it in its own time, and may go on with what had arrived before."""
        for connection in self._forget(host_id):
            connection.down.end(End(grpc.StatusCode.UNAVAILABLE, "connection reset"), self._chance.uniform(0, 1))
            connection.up.end(End(grpc.StatusCode.CANCELLED), self._chance.choice([0.01, 1.0, SLOWEST_NEWS_S]))

    def silence(self, host_id: str) -> None:
        """The streams are dead and neither end is ever told."""
        for connection in self._forget(host_id):
            connection.up.mute = connection.down.mute = True

    def host_died(self, host_id: str, *, power: bool) -> None:
        """A killed process' kernel closes its connections; a machine without power closes nothing."""
        for connection in self._forget(host_id):
            if power:
                connection.up.mute = True
            else:
                connection.up.end(End(grpc.StatusCode.CANCELLED), self._chance.uniform(0, 0.5))

    def control_died(self) -> None:
        self.listener = None
        for host_id in list(self._live):
            for connection in self._forget(host_id):
                connection.down.end(End(grpc.StatusCode.UNAVAILABLE, "socket closed"), self._chance.uniform(0, 0.5))

    def heal(self) -> None:
        self._stalled.clear()
        self._slow.clear()

    def _forget(self, host_id: str) -> list[Connection]:
        return self._live.pop(host_id, [])

    def over(self, connection: Connection) -> None:
        if connection in (live := self._live.get(connection.host_id, [])):
            live.remove(connection)
