"""Streams over HTTP: newline-delimited JSON, and consoles as WebSockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from controlplane.metrics import REGISTRY
from swarm.hostlink.v1 import service_pb2 as hostlink
from swarm_sdk import Client, TicketSpec
from tests.fakes import host as fake
from tests.fakes.control import Control, control_plane, eventually
from tests.fakes.host import FakeHost


async def line(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while not (raw := (await answer.content.readline()).strip()):
            pass
    found: dict[str, Any] = json.loads(raw)
    return found


async def streams() -> int:
    name = "swarm.ticket.v1.TicketService.WatchTicket"
    return int(REGISTRY.get_sample_value("swarm_api_streams", {"method": name}) or 0)


async def test_a_watch_is_one_line_for_each_answer(web: aiohttp.ClientSession, client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"))
    async with web.get(f"/api/tickets/{ticket.id}/watch") as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
        assert "X-Request-Id" in answer.headers
        first = (await line(answer))["result"]
        assert next(event["type"] for event in first["events"]) == "ticket.created"
        assert first["ticket"]["id"] == ticket.id
        await client.tickets.cancel(ticket.id)
        following = (await line(answer))["result"]
        assert following["events"][-1]["data"]["to"] == "cancelled"
        assert following["ticket"]["state"] == "TICKET_STATE_CANCELLED"


async def test_what_is_wrong_at_once_has_a_status(web: aiohttp.ClientSession, stranger: aiohttp.ClientSession) -> None:
    for session, path, accept, status in (
        (web, "/api/tickets/TKT-999/watch", "*/*", 404),
        (web, "/api/tickets/TKT-999/watch?cursor=x", "*/*", 400),
        (web, "/api/tickets/TKT-999/watch", "text/event-stream", 406),
        (stranger, "/api/tickets/TKT-999/watch", "*/*", 401),
    ):
        async with session.get(path, headers={"Accept": accept}) as answer:
            assert answer.status == status
            assert (await answer.json())["code"]


async def test_a_reader_that_goes_ends_its_stream(web: aiohttp.ClientSession, client: Client, control: Control) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"))
    async with web.get(f"/api/tickets/{ticket.id}/watch") as answer:
        await line(answer)
        assert await streams() == 1
    await eventually(streams, 0)


async def test_a_stream_ends_in_the_middle_with_its_error(home: Any) -> None:
    async with control_plane(home) as control:
        headers = {"Authorization": f"Bearer {control.token()}"}
        async with aiohttp.ClientSession(control.url, headers=headers) as web, control.client() as client:
            ticket = await client.tickets.create(TicketSpec(title="x"))
            answer = await web.get(f"/api/tickets/{ticket.id}/watch")
            await line(answer)
            (control.config.state_dir / "admin.token").write_text("swm_adm_" + "a" * 43)
            last = await line(answer)
            assert last["error"]["code"] == "UNAUTHENTICATED"
            assert last["error"]["request_id"] == answer.headers["X-Request-Id"]
            assert await answer.content.read() == b""


async def test_the_end_of_the_process_is_the_last_line(home: Any) -> None:
    async with aiohttp.ClientSession() as web:
        async with control_plane(home) as control:
            headers = {"Authorization": f"Bearer {control.token()}"}
            async with control.client() as client:
                ticket = await client.tickets.create(TicketSpec(title="x"))
            answer = await web.get(f"{control.url}/api/tickets/{ticket.id}/watch", headers=headers)
            await line(answer)
        last = await line(answer)
        assert (last["error"]["code"], last["error"]["details"][0]["reason"]) == ("UNAVAILABLE", "shutting_down")
        assert await answer.content.read() == b""


async def test_a_silent_stream_says_that_it_is_alive(
    web: aiohttp.ClientSession, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.gateway.ndjson.BEAT_S", 0.02)
    ticket = await client.tickets.create(TicketSpec(title="x"))
    async with web.get(f"/api/tickets/{ticket.id}/watch") as answer:
        assert await answer.content.readline() != b"\n"
        assert [await answer.content.readline() for _ in range(3)] == [b"\n"] * 3
        await client.tickets.cancel(ticket.id)
        assert (await line(answer))["result"]["ticket"]["state"] == "TICKET_STATE_CANCELLED"


async def test_a_deadline_ends_a_stream(web: aiohttp.ClientSession, client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"))
    async with web.get(f"/api/tickets/{ticket.id}/watch", headers={"X-Request-Timeout": "0.3"}) as answer:
        await line(answer)
        assert (await line(answer))["error"]["code"] == "DEADLINE_EXCEEDED"


def console(control: Control, vm_id: str, query: str = "") -> str:
    return f"{control.url.replace('http', 'ws', 1)}/api/vms/{vm_id}/console{query}"


async def test_a_console_needs_a_credential_and_a_vm(control: Control, stranger: aiohttp.ClientSession) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await connect(console(control, "vm_none"))
    assert caught.value.response.status_code == 401
    async with connect(console(control, "vm_none", f"?token={control.token()}")) as opened:
        assert json.loads(await opened.recv())["error"]["code"] == "NOT_FOUND"
        with pytest.raises(ConnectionClosed):
            await opened.recv()
        assert opened.close_code == 1008
    async with stranger.get("/api/vms/vm_none/console") as answer:
        assert answer.status == 426


async def test_keys_go_in_and_what_is_shown_comes_out(control: Control, client: Client, host: FakeHost) -> None:
    await host.deliver(fake.vm_report("vm_a"))
    async with connect(console(control, "vm_a", f"?token={control.token()}")) as opened:
        command = (await host.expect("command"))[0].command
        stream = host.stub.Console(metadata=host.metadata)
        await stream.write(hostlink.ConsoleRequest(command_id=command.command_id))
        await stream.write(hostlink.ConsoleRequest(data=b"login: "))
        assert await opened.recv() == b"login: "
        await opened.send(b"ro")
        await opened.send(json.dumps({"data": "b3Q="}))
        typed = [await stream.read(), await stream.read()]
        assert [each.data for each in typed if isinstance(each, hostlink.ConsoleResponse)] == [b"ro", b"ot"]
        await opened.send("no JSON")
        assert json.loads(await opened.recv())["error"]["code"] == "INVALID_ARGUMENT"
        stream.cancel()


BREACHES = {
    "no mask": (Frame(Opcode.BINARY, b"x").serialize(mask=False), 1002),
    "a reserved bit": (b"\xc2\x81\0\0\0\0x", 1002),
    "an opcode of nobody": (b"\x83\x80\0\0\0\0", 1002),
    "a length beyond all": (b"\x82\xff" + b"\x7f" * 8 + b"\0\0\0\0", 1009),
    "64 KiB and one": (Frame(Opcode.BINARY, b"x" * ((64 << 10) + 1)).serialize(mask=True), 1009),
    "no UTF-8": (Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True), 1007),
    "a flood of pings": (Frame(Opcode.PING, b"").serialize(mask=True) * 1000, 1002),
}


@pytest.mark.parametrize(("data", "code"), BREACHES.values(), ids=BREACHES)
async def test_breaches_of_the_protocol_close_a_console(
    control: Control, host: FakeHost, data: bytes, code: int
) -> None:
    await host.deliver(fake.vm_report("vm_a"))
    async with connect(console(control, "vm_a", f"?token={control.token()}")) as opened:
        command = (await host.expect("command"))[0].command
        stream = host.stub.Console(metadata=host.metadata)
        await stream.write(hostlink.ConsoleRequest(command_id=command.command_id))
        opened.transport.write(data)
        async with asyncio.timeout(60):
            await opened.wait_closed()
        assert opened.close_code == code
        stream.cancel()
