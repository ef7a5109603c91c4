"""A read over REST, against the same handler over bare gRPC and over FastAPI with a hop to that."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Final, cast

import grpc
import uvloop

from bench.control import cpu_s
from bench.measure import Figures, Row, figures
from swarm.ticket.v1 import service_pb2 as pb
from swarm.ticket.v1 import service_pb2_grpc

NAME = "gateway_rest"
SUMMARY = "a read over REST with 100 clients: ours, the same handler over bare gRPC, FastAPI with a hop to that"

CLIENTS: Final = 100
EACH: Final = 10  # calls of a client in a round
REQUEST: Final = (
    b"GET /api/tickets/tk_1 HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer x\r\nAccept: application/json\r\n\r\n"
)
FAIR: Final = "that of clients is not in it: grpc's own takes more of the machine than the one over HTTP"
Call = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Side:
    """One server with its clients, and what was measured of it: microseconds."""

    pid: int
    calls: Sequence[Call]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)

    async def round(self) -> None:
        before, began = cpu_s(self.pid), time.perf_counter()
        await asyncio.gather(*(self._client(call) for call in self.calls))
        count = EACH * len(self.calls)
        self.wall.append((time.perf_counter() - began) * 1e6 / count)
        self.cpu.append((cpu_s(self.pid) - before) * 1e6 / count)

    async def _client(self, call: Call) -> None:
        for _ in range(EACH):
            began = time.perf_counter()
            await call()
            self.latency.append((time.perf_counter() - began) * 1e3)


@contextmanager
def serving(kind: str, behind: int = 0) -> Iterator[tuple[int, int]]:
    """Process and port of a server that runs alone."""
    command = [sys.executable, "-m", "bench.rest_servers", kind, str(behind)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.terminate()


class Client(asyncio.Protocol):
    """One kept connection that costs as little as can be, so that the server is what is measured."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[None] | None = None
        self._got = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's inherits from nothing

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not end or len(body) < int(length) or self._answer is None:
            return
        if head.startswith(b"HTTP/1.1 200 "):
            self._answer.set_result(None)
        else:
            self._answer.set_exception(RuntimeError(head.decode()))
        self._got.clear()

    def call(self) -> Awaitable[None]:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(REQUEST)
        return self._answer

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def http(port: int, stack: AsyncExitStack) -> Call:
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    stack.callback(client.close)
    return client.call


async def rpc(port: int, stack: AsyncExitStack) -> Call:
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options))
    stub = service_pb2_grpc.TicketServiceStub(channel)

    async def call() -> None:
        await stub.GetTicket(pb.GetTicketRequest(id="tk_1"))

    return call


async def measured(n: int) -> tuple[Side, Side, Side | None]:
    """Ours, bare gRPC, FastAPI; in turns, after a round that is thrown away."""
    async with AsyncExitStack() as stack:
        own, bare = stack.enter_context(serving("ours")), stack.enter_context(serving("bare"))
        sides = [
            Side(own[0], [await http(own[1], stack) for _ in range(CLIENTS)]),
            Side(bare[0], [await rpc(bare[1], stack) for _ in range(CLIENTS)]),
        ]
        if find_spec("fastapi") and find_spec("uvicorn"):
            hop = stack.enter_context(serving("fastapi", bare[1]))
            sides.append(Side(hop[0], [await http(hop[1], stack) for _ in range(CLIENTS)]))
        for warm in (True, *[False] * n):
            for side in sides:
                await side.round()
                if warm:
                    side.wall, side.cpu, side.latency = [], [], []
        return sides[0], sides[1], sides[2] if len(sides) > 2 else None  # noqa: PLR2004 - the third is optional


def run(n: int) -> list[Row]:
    """A round is a thousand calls; one sample is its time per call."""
    ours, bare, hop = uvloop.run(measured(n))
    behind = figures(hop.wall) if hop else None
    absent = "" if hop else "no peer: fastapi and uvicorn are not installed"
    return [
        Row("time per call", "us", figures(ours.wall), "grpc.aio", figures(bare.wall), ">= 0.7x", rates(ours, bare)),
        Row("time per call", "us", figures(ours.wall), "FastAPI + gRPC", behind, ">= 2x", absent or rates(ours, hop)),
        Row("CPU of the server per call", "us", figures(ours.cpu), "grpc.aio", figures(bare.cpu), note=FAIR),
        Row("latency", "ms", figures(ours.latency), "grpc.aio", figures(bare.latency), "stated", "100 clients at once"),
    ]


def rates(*sides: Side | None) -> str:
    found: list[Figures] = [figures(side.wall) for side in sides if side]
    return " against ".join(f"{1e6 / each.p50:,.0f}/s" for each in found)
