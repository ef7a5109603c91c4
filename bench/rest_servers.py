"""The servers of `gateway_rest`, each alone in a process: `python -m bench.rest_servers KIND [PORT OF THE GRPC ONE]`.

All answer the same ticket from memory. Ours does so behind the whole pipeline and edge, the peers bare.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import grpc
import uvloop

from controlplane.api.bindings import Query
from controlplane.api.methods import methods, services
from controlplane.api.pipeline import Dispatcher
from controlplane.api.stages.ratelimit import RateLimit
from controlplane.domain.call import Principal, Role
from controlplane.gateway import table
from controlplane.gateway.admission import Admission
from controlplane.gateway.bidi import Bidi
from controlplane.gateway.front import Front
from controlplane.gateway.headers import Origins
from controlplane.gateway.listener import Address, HttpListener
from controlplane.gateway.rest import Rest
from controlplane.usecases.services import Services
from swarm.ticket.v1 import service_pb2 as pb
from swarm.ticket.v1 import service_pb2_grpc, ticket_pb2

METHOD: Final = "swarm.ticket.v1.TicketService.GetTicket"
T = TypeVar("T")

SPEC: Final = ticket_pb2.TicketSpec(title="Port it", description="It reads the old format. " * 20, tags=["parser"])
ANSWER: Final = pb.GetTicketResponse(ticket=ticket_pb2.Ticket(id="tk_1", key="TKT-001", spec=SPEC))


class Memory:
    """As much of a store as a read needs."""

    def now(self) -> float:
        return 0.0

    async def read(self, query: Callable[[Any], T]) -> T:
        return query(None)


async def ours(_: int) -> int:
    memory = cast("Any", Memory())
    principal = Principal("bench", Role.ADMIN)
    dispatcher = Dispatcher(
        {METHOD: methods(services())[METHOD]},
        {METHOD: Query(lambda _reader, _call, _request: ANSWER)},
        Services(memory, memory, memory, memory),
        authenticate=lambda _: principal,
        rate_limit=RateLimit({"global": 10**9}, admin=10**9),
    )
    origins = Origins()
    bidi = Bidi(dispatcher, Admission(lambda _: principal), origins, table.decode, table.encode)
    front = Front({"api": Rest(dispatcher, table.ROUTER, bidi).handle}, origins)
    listener = HttpListener(Address("127.0.0.1", 0, Path(tempfile.mkdtemp(), "port")))
    await listener.start(front.handle)
    return listener.port


async def get_ticket(request: pb.GetTicketRequest, context: Any) -> pb.GetTicketResponse:  # noqa: ARG001
    return ANSWER


KEPT: Final[list[Any]] = []  # what serves, for as long as the process lives


async def bare(_: int) -> int:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        get_ticket, pb.GetTicketRequest.FromString, pb.GetTicketResponse.SerializeToString
    )
    service, name = METHOD.rsplit(".", 1)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    KEPT.append(server)
    return port


async def fastapi(behind: int) -> int:
    """As such gateways are usually written: a route, a stub, and the message as a dictionary."""
    from fastapi import FastAPI  # noqa: PLC0415 - a peer that may be absent
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415
    from uvicorn import Config, Server  # noqa: PLC0415

    app = FastAPI()
    stub = service_pb2_grpc.TicketServiceStub(grpc.aio.insecure_channel(f"127.0.0.1:{behind}"))

    @app.get("/api/tickets/{ident}")
    async def get(ident: str) -> dict[str, Any]:
        answer = await stub.GetTicket(pb.GetTicketRequest(id=ident))
        return MessageToDict(answer.ticket, preserving_proto_field_name=True)

    quiet: dict[str, Any] = {"log_level": "warning", "access_log": False, "lifespan": "off"}
    # Its connections are idle while the others are measured, on a busy machine longer than the five seconds it allows.
    server = Server(Config(app, host="127.0.0.1", port=0, timeout_keep_alive=600, **quiet))
    KEPT.append(asyncio.create_task(server.serve()))
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    return int(server.servers[0].sockets[0].getsockname()[1])


async def main(kind: str, behind: int) -> None:
    port = await {"ours": ours, "bare": bare, "fastapi": fastapi}[kind](behind)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
