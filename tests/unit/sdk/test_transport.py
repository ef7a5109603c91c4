"""What the client sends and when it sends it again, seen from the server's side."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from controlplane import errors as server
from controlplane.api.status import status_of
from swarm.ticket.v1 import service_pb2 as pb
from swarm_sdk import Client, ResourceExhaustedError, Ticket, TicketSpec, UnavailableError, transport
from tests.fakes.testing_channel import TestingChannel

SERVICE = pb.DESCRIPTOR.services_by_name["TicketService"]
CREATE, GET = SERVICE.methods_by_name["CreateTicket"], SERVICE.methods_by_name["GetTicket"]


@pytest.fixture
def channel() -> TestingChannel:
    return TestingChannel(SERVICE)


@pytest.fixture
def client(channel: TestingChannel, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)
    fake: Any = channel
    return Client("", "secret", channel=fake, timeout_s=10, retries=2)


def fail(rpc: Any, error: server.SwarmError) -> None:
    details = (("grpc-status-details-bin", status_of(error, "rq_1").SerializeToString()),)
    rpc.terminate(None, details, grpc.StatusCode[error.code], error.message)


def answer(rpc: Any, message: Any) -> None:
    rpc.send_initial_metadata(())
    rpc.terminate(message, (), grpc.StatusCode.OK, "")


async def test_a_change_is_repeated_under_one_key(client: Client, channel: TestingChannel) -> None:
    calling = asyncio.create_task(client.tickets.create(TicketSpec(title="x")))
    keys = []
    for error in (server.Unavailable("away"), server.RateLimited("slowly", retry_after_s=0.01)):
        metadata, request, rpc = await channel.served(CREATE)
        assert metadata["authorization"] == "Bearer secret"
        assert request == pb.CreateTicketRequest(spec=TicketSpec(title="x"))
        keys.append(metadata["idempotency-key"])
        fail(rpc, error)
    metadata, _, rpc = await channel.served(CREATE)
    answer(rpc, pb.CreateTicketResponse(ticket=Ticket(id="tk_1")))
    assert (await calling).id == "tk_1"
    assert {*keys, metadata["idempotency-key"]} == {keys[0]}
    assert len(keys[0]) > 20


async def test_a_read_has_no_key(client: Client, channel: TestingChannel) -> None:
    calling = asyncio.create_task(client.tickets.get("TKT-001"))
    metadata, _, rpc = await channel.served(GET)
    assert "idempotency-key" not in metadata
    answer(rpc, pb.GetTicketResponse())
    await calling


async def test_it_gives_up_after_its_repetitions(client: Client, channel: TestingChannel) -> None:
    calling = asyncio.create_task(client.tickets.get("TKT-001"))
    for _ in range(3):
        _, _, rpc = await channel.served(GET)
        fail(rpc, server.Unavailable("away", reason="no_host"))
    with pytest.raises(UnavailableError) as failed:
        await calling
    assert (failed.value.reason, failed.value.request_id) == ("no_host", "rq_1")


@pytest.mark.parametrize(
    "error",
    [
        server.RateLimited("slowly", retry_after_s=60),  # longer than the call may take
        server.RateLimited("too large"),
        server.DiskFull("full", retry_after_s=0.01),
    ],
    ids=["too late", "no hint", "full disk"],
)
async def test_what_does_not_pass_in_time_is_not_waited_for(
    client: Client, channel: TestingChannel, error: server.SwarmError
) -> None:
    calling = asyncio.create_task(client.tickets.get("TKT-001"))
    _, _, rpc = await channel.served(GET)
    fail(rpc, error)
    with pytest.raises(ResourceExhaustedError):
        await calling
