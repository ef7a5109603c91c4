"""The audit log as its readers see it, and what an answer carries besides its message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import grpc
import pytest

from swarm.ticket.v1 import service_pb2 as tickets
from swarm_sdk import Client, TicketSpec
from swarm_sdk.audit import filtered, heads_in
from tests.fakes.control import Control, control_plane
from tests.fakes.host import FakeHost

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GET = "/swarm.ticket.v1.TicketService/GetTicket"
CREATE = "/swarm.ticket.v1.TicketService/CreateTicket"


def method(channel: grpc.aio.Channel, path: str) -> Any:
    """Of bytes, as they are on the wire."""
    return channel.unary_unary(path)


async def test_rows_are_listed_filtered_exported_and_verified(client: Client) -> None:
    made = await client.tickets.create(TicketSpec(title="one"), hold=True)
    await client.tickets.cancel(made.id)
    found = await client.audit.list(filtered(action="ticket.*"))
    assert [row.action for row in found] == ["ticket.cancel", "ticket.create"]
    assert {row.tenant_id for row in found} == {"default"}
    assert [row.seq for row in await client.audit.list(filtered(request=found[0].request_id))] == [found[0].seq]
    assert await client.audit.list(filtered(actor="nobody")) == []
    assert [row.seq for row in await client.audit.list(limit=1)] == [found[0].seq]
    exported = [row async for row in client.audit.export(filtered(actor="admin"))]
    assert [row.action for row in exported] == ["audit.export", "ticket.cancel", "ticket.create"]
    verdict = await client.audit.verify()
    assert verdict.sound
    assert verdict.rows >= 3


async def test_a_log_that_was_altered_is_told_to_whoever_verifies_it(home: Path) -> None:
    elsewhere = home.parent / "heads"
    async with control_plane(home, audit_head=elsewhere) as control, control.client() as client:
        for number in range(4):
            await client.tickets.create(TicketSpec(title=str(number)), hold=True)
    heads = heads_in(elsewhere.read_text())
    connection = apsw.Connection(str(control.config.database))
    connection.execute("UPDATE audit SET principal = 'mallory' WHERE seq = 3")
    connection.close()
    async with control_plane(home) as control, control.client() as client:
        verdict = await client.audit.verify(heads)
        assert (verdict.sound, verdict.first_bad_seq, verdict.rows) == (False, 3, 2)
        assert verdict.reason


async def test_an_answer_tells_its_request_and_what_the_limit_leaves(control: Control) -> None:
    async with grpc.aio.insecure_channel(f"unix:{control.socket}") as channel:
        call = method(channel, GET)(
            tickets.GetTicketRequest(id="TKT-404").SerializeToString(),
            metadata=(("authorization", f"Bearer {control.token()}"), ("x-request-id", "rq_mine")),
        )
        assert await call.code() is grpc.StatusCode.NOT_FOUND
        told = {key: value for key, value in await call.trailing_metadata() if isinstance(value, str)}
        assert told["x-request-id"] == "rq_mine"
        assert told["ratelimit-limit"] == str(control.config.rate_limit_admin)
        assert int(told["ratelimit-remaining"]) < control.config.rate_limit_admin
        assert told["ratelimit-policy"].startswith('"global";q=')


async def test_guessing_at_credentials_is_limited_too(home: Path) -> None:
    async with control_plane(home, rate_limit=3) as control:
        async with grpc.aio.insecure_channel(f"unix:{control.socket}") as channel:
            codes, trailers = [], {}
            for _ in range(5):
                call = method(channel, GET)(b"", metadata=(("authorization", "Bearer swm_adm_wrong"),))
                codes.append(await call.code())
                trailers = dict(await call.trailing_metadata())
            assert codes == [grpc.StatusCode.UNAUTHENTICATED] * 3 + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2
            assert 0 < int(trailers["retry-after"]) <= 60
        async with control.client() as client:
            await client.registry.list()


async def file(control: Control, edge: str, given: str) -> None:
    """A ticket, by a call of this trace."""
    headers = {"authorization": f"Bearer {control.token()}", "traceparent": given}
    if edge == "REST":
        async with (
            aiohttp.ClientSession(control.url, headers=headers) as web,
            web.post("/api/tickets", json={"title": "traced"}) as answer,
        ):
            assert answer.status == 200
        return
    spec = tickets.CreateTicketRequest()
    spec.spec.title = "traced"
    async with grpc.aio.insecure_channel(f"unix:{control.socket}") as channel:
        await method(channel, CREATE)(spec.SerializeToString(), metadata=tuple(headers.items()))


@pytest.mark.parametrize("edge", ["gRPC", "REST"])
@pytest.mark.parametrize("given", [f"00-{TRACE}-00f067aa0ba902b7-01", f"00-{TRACE}-rubbish-01"])
async def test_a_trace_reaches_the_host_with_the_ticket(
    control: Control, host: FakeHost, edge: str, given: str
) -> None:
    await file(control, edge, given)
    await host.until(lambda: any(event.HasField("assignment") for event in host.received))
    [found] = [event.assignment.traceparent for event in host.received if event.HasField("assignment")]
    assert (TRACE in found) is ("rubbish" not in given)
    assert len(found) == 55


async def test_heads_are_on_disk_after_a_stop(home: Path) -> None:
    async with control_plane(home) as control, control.client() as client:
        await client.tickets.create(TicketSpec(title="one"), hold=True)
        [newest] = await client.audit.list(limit=1)
    last = json.loads((home / "audit.heads").read_text().splitlines()[-1])
    assert (last["seq"], last["mac"]) == (newest.seq, newest.mac)
