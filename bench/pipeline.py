"""A read through the whole call pipeline beside the same handler on bare grpc.aio, and what each stage costs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import uvloop

from bench.control import cpu_s
from bench.measure import Figures, Row, figures
from controlplane import metrics, pace
from controlplane.accounts.tokens import Tokens
from controlplane.api.answer import begin
from controlplane.api.bindings import Query
from controlplane.api.methods import Method, methods, services
from controlplane.api.stages.authorize import authorize
from controlplane.api.stages.identify import request_id
from controlplane.api.stages.ratelimit import RateLimit
from controlplane.api.stages.validate import validate
from controlplane.app import running
from controlplane.config import Config
from controlplane.domain.call import Call, Principal, Role
from swarm.ticket.v1 import service_pb2 as pb
from swarm.ticket.v1 import ticket_pb2
from telemetry import logs
from telemetry.traceparent import received

NAME = "pipeline"
SUMMARY = "a read through the whole pipeline against the same handler on bare grpc.aio; the cost of each stage"

GET = "swarm.ticket.v1.TicketService.GetTicket"
PATH = "/swarm.ticket.v1.TicketService/GetTicket"
CREATE = "/swarm.ticket.v1.TicketService/CreateTicket"
BARE = "bare.sock"
UNLIMITED = 10**6
CALLS = 200
"""Calls of one caller per round, of which the mean is one sample."""
CLIENTS = 100
EACH = 20
REPEAT = 500
"""How often a stage runs per round."""
ADMIN = Principal("admin", Role.ADMIN)


def configured(folder: Path) -> Config:
    return Config(state_dir=folder, rate_limit_admin=UNLIMITED, rate_limit=UNLIMITED, reflection=False)


async def serve(folder: Path) -> None:
    """Both servers in one process, over one store, until it is killed."""
    async with running(configured(folder)) as edge:
        dispatcher = edge._dispatcher  # noqa: SLF001 - the peer shall have the same handler over the same store
        store, handler = dispatcher._services.store, dispatcher._bindings[GET]  # noqa: SLF001
        assert isinstance(handler, Query)

        async def bare(request: pb.GetTicketRequest, _context: Any) -> Any:
            call = Call("", ADMIN, store.now())
            return await store.read(lambda reader: handler.run(reader, call, request))

        method = grpc.unary_unary_rpc_method_handler(
            bare, pb.GetTicketRequest.FromString, pb.GetTicketResponse.SerializeToString
        )
        server = grpc.aio.server()
        service, name = PATH.strip("/").split("/")
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: method}),))
        server.add_insecure_port(f"unix:{folder / BARE}")
        await server.start()
        await server.wait_for_termination()


class Caller:
    """Reads one ticket from one of the servers, over channels of its own."""

    def __init__(self, socket: Path, token: str, ident: str, channels: int) -> None:
        options = (("grpc.use_local_subchannel_pool", 1),)
        self.channels = [grpc.aio.insecure_channel(f"unix:{socket}", options) for _ in range(channels)]
        self._reads = [
            each.unary_unary(PATH, pb.GetTicketRequest.SerializeToString, pb.GetTicketResponse.FromString)
            for each in self.channels
        ]
        self._request = pb.GetTicketRequest(id=ident)
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def one(self, number: int) -> float:
        """Milliseconds of one call."""
        began = time.perf_counter()
        await self._reads[number](self._request, metadata=self._metadata)
        return (time.perf_counter() - began) * 1e3

    async def alone(self) -> float:
        """Microseconds per call of one caller."""
        return sum([await self.one(0) for _ in range(CALLS)]) / CALLS * 1e3

    async def together(self) -> tuple[float, list[float]]:
        """Calls per second of all callers at once, and the milliseconds of each call."""

        async def several(number: int) -> list[float]:
            return [await self.one(number) for _ in range(EACH)]

        began = time.perf_counter()
        found = await asyncio.gather(*map(several, range(len(self.channels))))
        return len(found) * EACH / (time.perf_counter() - began), [each for some in found for each in some]


@asynccontextmanager
async def callers(folder: Path) -> AsyncIterator[tuple[int, tuple[Caller, Caller]]]:
    """The process of both servers, and who calls ours and the peer's."""
    with (folder / "server.log").open("wb") as log:
        command = (sys.executable, "-m", "bench.pipeline", str(folder))
        server = await asyncio.create_subprocess_exec(*command, stderr=log)
        try:
            while not (folder / BARE).exists():
                await asyncio.sleep(0.05)
                if server.returncode is not None:
                    raise RuntimeError((folder / "server.log").read_text())
            token = (folder / "admin.token").read_text().strip()
            ours = folder / "controlplane.sock"
            ident = await filed(ours, token)
            both = Caller(ours, token, ident, CLIENTS), Caller(folder / BARE, token, ident, CLIENTS)
            yield server.pid, both
            for channel in (*both[0].channels, *both[1].channels):
                await channel.close()
        finally:
            server.kill()
            await server.wait()


async def filed(socket: Path, token: str) -> str:
    """Id of a ticket to read."""
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        create = channel.unary_unary(
            CREATE, pb.CreateTicketRequest.SerializeToString, pb.CreateTicketResponse.FromString
        )
        spec = ticket_pb2.TicketSpec(title="read me", description="As long as people write. " * 10, agent="echo")
        request, metadata = pb.CreateTicketRequest(spec=spec, hold=True), (("authorization", f"Bearer {token}"),)
        made = await create(request, metadata=metadata)
        return str(made.ticket.id)


def stages(folder: Path) -> Mapping[str, Callable[[], Awaitable[object] | object]]:
    """Each stage alone, as the pipeline runs it for a read."""
    method: Method = methods(services())[GET]
    tokens, limit = Tokens(folder), RateLimit({"global": UNLIMITED}, admin=UNLIMITED)
    tokens.ensure()
    metadata = {"authorization": f"Bearer {(folder / 'admin.token').read_text().strip()}"}
    request, calls = pb.GetTicketRequest(id="tk_01234567890123456789012345"), logs.lines("bench")

    def identify() -> None:
        begin()
        trace = received("")
        logs.begin(request_id=request_id(metadata), trace_id=trace.trace_id, span_id=trace.span_id)

    def said() -> None:
        metrics.requests(GET, "OK").inc()
        metrics.latency(GET).observe(0.001)
        calls.info("call", method=GET, principal="admin", peer="unix:", code="OK", seconds=0.000123)

    return {
        "request id, trace": identify,
        "authenticate": lambda: tokens.authenticate(metadata),
        "rate limit, in memory": lambda: limit.take(ADMIN, method.tier),
        "authorize": lambda: authorize(method, ADMIN),
        "validate": lambda: validate(request),
        "metrics, log": said,
    }


async def cost(stage: Callable[[], Awaitable[object] | object]) -> float:
    """Microseconds of the processor: others may have the machine in between."""
    began = time.process_time()
    for _ in range(REPEAT):
        found = stage()
        if isinstance(found, Awaitable):
            await found
    return (time.process_time() - began) / REPEAT * 1e6


async def measure(n: int, folder: Path) -> list[Row]:
    rounds = max(2, n // 10)
    alone: tuple[list[float], list[float]] = ([], [])
    rates: tuple[list[float], list[float]] = ([], [])
    times: tuple[list[float], list[float]] = ([], [])
    work: tuple[list[float], list[float]] = ([], [])
    async with callers(folder) as (server, both):
        for caller in both:
            await caller.together()  # every channel connects
        for _ in range(rounds):
            for side, caller in enumerate(both):
                alone[side].append(await caller.alone())
                before = cpu_s(server)
                rate, each = await caller.together()
                work[side].append((cpu_s(server) - before) / len(each) * 1e6)
                rates[side].append(rate)
                times[side].extend(each)
    ours, bare = (figures(samples) for samples in alone)
    share = bare.p50 / ours.p50
    many, most = (figures(samples) for samples in times)
    per_second = [figures(samples).p50 for samples in rates]
    used, least = (figures(samples) for samples in work)
    paired = figures([bare_s / ours_s for ours_s, bare_s in zip(*work, strict=True)]).p50
    more = f"{paired:.2f}x by the median of the rounds, each of which measures both"
    shown = f"{per_second[0]:,.0f}/s against {per_second[1]:,.0f}/s, {per_second[0] / per_second[1]:.2f}x, no error"
    return [
        Row("read, one caller", "us", ours, "bare grpc.aio", bare, ">= 0.7x", f"{share:.2f}x of its speed"),
        Row(f"read, {CLIENTS} callers at once", "ms", many, "bare grpc.aio", most, note=shown),
        Row(f"CPU of the server per call, {CLIENTS} callers", "us", used, "bare grpc.aio", least, ">= 0.7x", more),
        *[Row(f"stage: {name}", "us", await costs(stage, rounds)) for name, stage in stages(folder).items()],
    ]


async def costs(stage: Callable[[], Awaitable[object] | object], rounds: int) -> Figures:
    return figures([await cost(stage) for _ in range(rounds)])


def run(n: int) -> list[Row]:
    """A tenth of the rounds is measured; a round is 200 calls in a row and 2,000 at once, of each side."""
    with (
        tempfile.TemporaryDirectory(prefix="swarm-bench-") as folder,
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stderr(nowhere),  # each stage's log lines
    ):
        logs.set_up("info")
        return uvloop.run(measure(n, Path(folder)))


if __name__ == "__main__":
    pace.set_up()
    logs.set_up("info")
    uvloop.run(serve(Path(sys.argv[1])))
