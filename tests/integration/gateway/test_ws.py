"""/ws with the client library of others: rooms, cursors, credentials, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import socket as raw
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

from controlplane.domain import lifetimes
from controlplane.gateway.deflate import deflated
from controlplane.metrics import REGISTRY
from swarm_sdk import Client, TicketSpec
from swarm_sdk.types import Role, TenantSpec, UserSpec
from tests.fakes import host as fake
from tests.fakes.control import Control, control_plane
from tests.fakes.host import FakeHost
from tests.integration.accounts.people import PASSWORD


def address(control: Control, query: str = "") -> str:
    return control.url.replace("http", "ws", 1) + f"/ws{query}"


@asynccontextmanager
async def socket(control: Control, **options: Any) -> AsyncIterator[ClientConnection]:
    """One of the admin, which is let in."""
    headers = {"Authorization": f"Bearer {control.token()}"}
    async with connect(address(control), additional_headers=headers, **options) as opened:
        assert (await heard(opened))["type"] == "ready"
        yield opened


async def say(opened: ClientConnection, kind: str, **more: Any) -> None:
    await opened.send(json.dumps({"type": kind, **more}))


async def heard(opened: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(60):
        found: dict[str, Any] = json.loads(await opened.recv())
    return found


async def until(opened: ClientConnection, seq: int) -> list[dict[str, Any]]:
    """Events up to a number."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["seq"] < seq:
        found.append(await heard(opened))
    return found


async def ended(opened: ClientConnection) -> int:
    """The code of the close, whatever comes before."""
    async with asyncio.timeout(60):
        try:
            while True:
                await opened.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


async def stored(client: Client, ident: str) -> list[tuple[int, str]]:
    return [(event.seq, event.type) for event in await client.tickets.events(ident)]


def told(events: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(event["seq"], event["event"]) for event in events]


async def test_a_room_tells_what_is_stored(control: Control, client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"))
    async with socket(control) as opened:
        await say(opened, "subscribe", rooms=[f"ticket:{ticket.key}"], cursor=0)
        answer = await heard(opened)
        assert answer == {
            "type": "subscribed",
            "room": f"ticket:{ticket.id}",
            "asked": f"ticket:{ticket.key}",
            "cursor": 0,
        }
        await client.tickets.cancel(ticket.id)
        kept = await stored(client, ticket.id)
        events = await until(opened, kept[-1][0])
        assert told(events) == kept
        assert {event["type"] for event in events} == {"ticketUpdate"}
        assert all(event["room"] == f"ticket:{ticket.id}" for event in events)
        assert events[-1]["data"]["to"] == "cancelled"
        await say(opened, "ping")
        assert await heard(opened) == {"type": "pong"}


async def test_without_a_cursor_a_room_begins_now_and_with_one_behind_it(control: Control, client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"))
    newest = (await stored(client, ticket.id))[-1][0]
    room = f"ticket:{ticket.id}"
    async with socket(control) as opened, socket(control) as behind:
        await say(opened, "subscribe", rooms=[room])
        assert (await heard(opened))["cursor"] == newest
        await say(behind, "subscribe", rooms=[room], cursor={room: newest - 1})
        await heard(behind)
        await client.tickets.cancel(ticket.id)
        assert (await heard(opened))["seq"] == newest + 1
        assert [(await heard(behind))["seq"] for _ in range(2)] == [newest, newest + 1]


async def test_the_room_of_a_tenant_tells_of_all_its_tickets(control: Control, client: Client) -> None:
    async with socket(control) as opened:
        await say(opened, "subscribe", rooms=["tenant:default"])
        await heard(opened)
        made = [await client.tickets.create(TicketSpec(title=f"{number}")) for number in range(3)]
        seen: set[str] = set()
        while seen != {ticket.id for ticket in made}:
            event = await heard(opened)
            assert (event["type"], event["room"]) == ("ticketUpdate", "tenant:default")
            seen.add(event["data"]["ticket_id"])


async def test_what_agents_say_has_names_of_its_own(control: Control, client: Client, host: FakeHost) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"))
    async with socket(control) as opened:
        await say(opened, "subscribe", rooms=[f"ticket:{ticket.id}"], cursor=0)
        ref = (await host.assignment()).attempt
        await host.deliver(fake.running(ref))
        await host.deliver(fake.logged(ref, "a line"))
        while (event := await heard(opened))["type"] != "agentLog":
            assert event["type"] in {"subscribed", "ticketUpdate"}
        assert (event["event"], event["data"]["text"]) == ("agent.log", "a line")


async def test_rooms_that_are_not_there_are_not_found(control: Control) -> None:
    rooms = ["ticket:TKT-999", "tenant:other", "vm:vm_none", "session:hs_1", "nothing", "", ":", "ticket:", "x" * 500]
    async with socket(control) as opened:
        await say(opened, "subscribe", rooms=rooms)
        answers = [await heard(opened) for _ in rooms]
        assert {(answer["type"], answer["code"]) for answer in answers} == {("error", "NOT_FOUND")}
        assert [answer["room"] for answer in answers] == rooms


async def test_tickets_of_another_tenant_are_not_there(control: Control, client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"))
    await client.admin.create_tenant("acme", TenantSpec(name="Acme"))
    spec = UserSpec(email="eve@example.org", name="Eve", role=Role.ROLE_ADMIN)
    await client.admin.create_user(spec, password=PASSWORD, tenant_id="acme")
    async with Client(f"unix:{control.socket}", "") as stranger:
        token = (await stranger.auth.login("eve@example.org", PASSWORD)).tokens.access_token
    rooms = [f"ticket:{ticket.id}", f"ticket:{ticket.key}", "tenant:default"]
    async with connect(address(control, f"?token={token}")) as opened:
        await heard(opened)
        await say(opened, "subscribe", rooms=rooms, cursor=0)
        assert [(await heard(opened))["code"] for _ in rooms] == ["NOT_FOUND"] * 3
        await client.tickets.cancel(ticket.id)
        await say(opened, "ping")
        assert (await heard(opened))["type"] == "pong"


async def test_a_ticket_opens_one_socket_and_only_in_time(
    control: Control, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = f"?ticket={await client.auth.ws_ticket()}"
    async with connect(address(control, query)) as opened:
        assert (await heard(opened))["type"] == "ready"
    monkeypatch.setattr(lifetimes, "WS_TICKET", -1.0)
    for bad in (query, f"?ticket={await client.auth.ws_ticket()}"):
        with pytest.raises(InvalidStatus) as caught:
            await connect(address(control, bad))
        assert caught.value.response.status_code == 401


async def test_leaving_a_room_ends_its_events(control: Control, client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"))
    async with socket(control) as opened:
        await say(opened, "subscribe", rooms=[f"ticket:{ticket.id}"])
        await heard(opened)
        await say(opened, "unsubscribe", rooms=[f"ticket:{ticket.id}"])
        assert (await heard(opened))["type"] == "unsubscribed"
        await client.tickets.cancel(ticket.id)
        await say(opened, "ping")
        assert (await heard(opened))["type"] == "pong"


async def test_a_cursor_ahead_of_all_events_is_told(control: Control, client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"))
    async with socket(control) as opened:
        await say(opened, "subscribe", rooms=[f"ticket:{ticket.id}"], cursor=999)
        answer = await heard(opened)
        assert (answer["type"], answer["code"]) == ("error", "INVALID_ARGUMENT")
        assert answer["details"][0]["reason"] == "cursor_ahead"


async def test_a_credential_may_come_by_header_query_or_first_message(control: Control) -> None:
    async with connect(address(control, f"?token={control.token()}")) as opened:
        assert (await heard(opened))["principal"] == "admin"
    async with connect(address(control)) as opened:
        await say(opened, "auth", token=control.token())
        assert (await heard(opened))["principal"] == "admin"
        await say(opened, "auth", token=control.token())
        assert (await heard(opened))["code"] == "INVALID_ARGUMENT"


async def test_who_has_no_credential_stays_out(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    for query in ("?token=nobody", "?token=", "?ticket=nobody", "?ticket=x&token=y", "?token=%ff"):
        with pytest.raises(InvalidStatus) as caught:
            await connect(address(control, query))
        assert caught.value.response.status_code in {400, 401}
    monkeypatch.setattr("controlplane.gateway.ws.FIRST_S", 0.05)
    async with connect(address(control)) as opened:
        assert (await heard(opened))["code"] == "UNAUTHENTICATED"
        assert await ended(opened) == 1008
    monkeypatch.setattr("controlplane.gateway.ws.FIRST_S", 5)
    for first in ('{"type":"ping"}', '{"type":"auth","token":5}', '{"type":"auth","token":"nobody"}', "no JSON"):
        async with connect(address(control)) as opened:
            await opened.send(first)
            assert (await heard(opened))["type"] == "error"
            assert await ended(opened) == 1008


async def test_hosts_watch_no_rooms(control: Control) -> None:
    async with connect(address(control, f"?token={control.token('local')}")) as opened:
        await heard(opened)
        await say(opened, "subscribe", rooms=["tenant:default"])
        assert (await heard(opened))["code"] == "PERMISSION_DENIED"


async def test_pages_of_other_sites_stay_out(control: Control) -> None:
    query = f"?token={control.token()}"
    with pytest.raises(InvalidStatus) as caught:
        await connect(address(control, query), origin="https://evil.example.org")  # type: ignore[arg-type]
    assert caught.value.response.status_code == 403
    for origin in ("https://console.example.org", control.url):
        async with connect(address(control, query), origin=origin) as opened:  # type: ignore[arg-type]
            assert (await heard(opened))["type"] == "ready"


async def test_a_credential_that_ends_ends_its_sockets(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.gateway.ws.RECHECK_S", 0.05)
    async with socket(control) as first:
        (control.config.state_dir / "admin.token").write_text("swm_adm_" + "a" * 43)
        assert await ended(first) == 1008


BAD_MESSAGES = ["", "null", "[]", "{", '{"type":"dance"}', '{"type":5}', "[" * 60_000, '{"type":"subscribe"}',
     '{"type":"subscribe","rooms":"x"}', '{"type":"subscribe","rooms":[1]}', '{"type":"subscribe","rooms":[]}',
     '{"type":"subscribe","rooms":["a"],"cursor":-1}', '{"type":"subscribe","rooms":["a"],"cursor":1.5}',
     '{"type":"subscribe","rooms":["a"],"cursor":9223372036854775808}', '{"type":"subscribe","rooms":["\\ud800"]}',
     '{"type":"unsubscribe","rooms":{}}', '{"a":NaN}', '{"cursor":' + "9" * 5000 + "}"]  # fmt: skip


async def test_bad_messages_are_answered(control: Control) -> None:
    async with socket(control) as opened:
        for text in BAD_MESSAGES:
            await opened.send(text)
            answer = await heard(opened)
            assert (answer["type"], answer["code"]) == ("error", "INVALID_ARGUMENT"), text
        await say(opened, "ping")
        assert (await heard(opened))["type"] == "pong"


async def test_too_many_rooms_are_refused(control: Control) -> None:
    async with socket(control) as opened:
        await say(opened, "subscribe", rooms=[f"ticket:{number}" for number in range(2000)])
        answer = await heard(opened)
        assert answer["details"][0]["reason"] == "too_many_rooms"


BOMB = deflated(b" " * (40 << 20))


async def test_breaches_of_the_protocol_close_the_socket(control: Control) -> None:
    async def after(*frames: Frame | bytes) -> int:
        async with socket(control) as opened:
            for each in frames:
                data = each if isinstance(each, bytes) else each.serialize(mask=True)
                opened.transport.write(data)
            return await ended(opened)

    masked = b"\x00\x00\x00\x00"
    assert await after(Frame(Opcode.TEXT, b"\xff\xfe")) == 1007
    assert await after(Frame(Opcode.BINARY, b"x")) == 1003
    assert await after(Frame(Opcode.TEXT, b"x" * ((64 << 10) + 1))) == 1009
    assert await after(Frame(Opcode.TEXT, b"x" * 40_000, fin=False), Frame(Opcode.CONT, b"x" * 40_000)) == 1009
    assert await after(b"\xa1\x81" + masked + b"x") == 1002
    assert await after(b"\xc9\x80" + masked) == 1002
    assert await after(b"\xc1\x81" + masked + b"\xff") == 1002
    assert await after(b"\xc1\xfe" + len(BOMB).to_bytes(2) + masked + BOMB) == 1009
    assert await after(Frame(Opcode.CONT, b"x")) == 1002
    assert await after(b"\x83\x80" + masked) == 1002
    assert await after(b"\x89\xfe\x00\xff" + masked) == 1002
    assert await after(Frame(Opcode.TEXT, b'{"type":"ping"}').serialize(mask=False)) == 1002
    assert await after(b"\x81\xff" + b"\x7f" * 8 + masked) == 1009


async def test_floods_of_frames_close_the_socket(control: Control) -> None:
    for frame in (Frame(Opcode.PING, b""), Frame(Opcode.TEXT, b"", fin=False), Frame(Opcode.TEXT, b'{"type":"ping"}')):
        rest = Frame(Opcode.CONT, b"", fin=False) if not frame.fin else frame
        async with socket(control) as opened:
            opened.transport.write(frame.serialize(mask=True) + rest.serialize(mask=True) * 250)
            assert await ended(opened) == 1002


async def test_what_is_compressed_is_read_and_told_as_it_is(control: Control, client: Client) -> None:
    """The client library of others compresses unless it is told not to."""
    window = ClientPerMessageDeflateFactory(server_max_window_bits=12)
    plain = socket(control, compression=None)
    async with socket(control) as packed, plain as other, socket(control, extensions=[window]) as small:
        opened = (packed, other, small)
        assert [len(each.protocol.extensions) for each in opened] == [1, 0, 1]
        ticket = await client.tickets.create(TicketSpec(title="x"))
        for each in opened:
            await say(each, "subscribe", rooms=[f"ticket:{ticket.id}"], cursor=0)
            assert (await heard(each))["type"] == "subscribed"
        await client.tickets.cancel(ticket.id, "nobody needs it any more " * 20)
        newest = (await stored(client, ticket.id))[-1][0]
        said = [await until(each, newest) for each in opened]
        assert said[0] == said[1] == said[2]
        assert said[0][-1]["data"]["reason"] == "nobody needs it any more " * 20


async def test_an_offer_of_a_smaller_window_is_declined(control: Control) -> None:
    offer = ClientPerMessageDeflateFactory(server_max_window_bits=9)
    async with socket(control, compression=None, extensions=[offer]) as opened:
        assert not opened.protocol.extensions


async def flood(host: FakeHost, ref: Any) -> None:
    while True:
        await host.deliver(fake.logged(ref, *(os.urandom(4 << 10).hex() for _ in range(32))))


def sockets() -> float:
    """How many the control plane has."""
    return REGISTRY.get_sample_value("swarm_api_streams", {"method": "ws"}) or 0


@asynccontextmanager
async def deaf(control: Control, room: str) -> AsyncIterator[asyncio.StreamReader]:
    """A client that asks for a room and reads nothing of it."""
    where = urlsplit(address(control, f"?token={control.token()}"))
    small = raw.socket()
    small.setsockopt(raw.SOL_SOCKET, raw.SO_RCVBUF, 4096)  # what the kernel holds for it counts as read
    small.connect((where.hostname, where.port))
    reader, writer = await asyncio.open_connection(sock=small, limit=4096)
    keys = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    head = f"GET /ws?{where.query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{keys}\r\n"
    writer.write(head.encode())
    await reader.readuntil(b"\r\n\r\n")
    wanted = json.dumps({"type": "subscribe", "rooms": [room]}).encode()
    writer.write(Frame(Opcode.TEXT, wanted).serialize(mask=True))
    try:
        yield reader
    finally:
        writer.close()


async def test_who_does_not_read_is_left(control: Control, client: Client, host: FakeHost) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"))
    async with socket(control) as reading, deaf(control, f"ticket:{ticket.id}") as left:
        await say(reading, "subscribe", rooms=[f"ticket:{ticket.id}"])
        ref = (await host.assignment()).attempt
        await host.deliver(fake.running(ref))
        writing = asyncio.create_task(flood(host, ref))
        last = 0
        while sockets() > 1:
            event = await heard(reading)
            assert event.get("seq", last) >= last
            last = event.get("seq", last)
        writing.cancel()
        assert b"\x03\xf5this reads too slowly" in (await left.read())[-130:]
        await say(reading, "ping")
        while (await heard(reading))["type"] != "pong":
            pass


async def test_the_end_of_the_process_is_told(home: Any) -> None:
    async with control_plane(home) as control:
        opened = await connect(address(control, f"?token={control.token()}"))
    assert await ended(opened) == 1001


async def test_plain_http_is_told_what_this_is(control: Control, stranger: Any) -> None:
    async with stranger.get("/ws") as answer:
        assert (answer.status, (await answer.json())["code"]) == (426, "INVALID_ARGUMENT")
    async with stranger.post("/ws") as answer:
        assert answer.status == 405
    broken = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x"}
    async with stranger.get("/ws", headers=broken) as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, "INVALID_ARGUMENT")
