"""The gRPC edge as any client sees it: who may call what, what bad input gets, what a repetition gets."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from swarm.ticket.v1 import service_pb2 as tickets
from swarm.ticket.v1 import ticket_pb2
from swarm.ticket.v1.service_pb2_grpc import TicketServiceStub
from swarm_sdk import (
    AbortedError,
    Client,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    TicketSpec,
    TicketType,
    UnauthenticatedError,
)
from tests.fakes.control import Control, control_plane, eventually
from tests.integration.controlplane.calls import HOSTS, METHODS, OPEN, PUBLIC, bearer, details, outcome, raw, refusal


@pytest.fixture
async def channel(control: Control) -> AsyncIterator[grpc.aio.Channel]:
    async with control.channel() as opened:
        yield opened


STRANGERS: dict[str, Sequence[tuple[str, str]]] = {
    "no token": (),
    "a wrong token": bearer("swm_adm_" + "x" * 43),
    "another scheme": (("authorization", "Basic YWRtaW46YWRtaW4="),),
    "an empty token": bearer(""),
    "a long token": bearer("x" * 5000),
}


@pytest.mark.parametrize("metadata", STRANGERS.values(), ids=STRANGERS)
async def test_no_method_answers_a_stranger(home: Path, metadata: Sequence[tuple[str, str]]) -> None:
    async with control_plane(home, rate_limit=len(METHODS)) as control, control.channel() as channel:
        codes = {
            method.name: (await refusal(channel, method, b"", metadata)).code().name
            for method in METHODS
            if method not in OPEN
        }
    assert codes == dict.fromkeys(codes, "UNAUTHENTICATED")


async def test_a_token_without_its_scheme_is_none(control: Control, channel: grpc.aio.Channel) -> None:
    error = await refusal(channel, PUBLIC[0], b"", (("authorization", control.token()),))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_hosts_and_people_never_call_each_others_methods(home: Path) -> None:
    async with control_plane(home, rate_limit=len(METHODS)) as control, control.channel() as channel:
        host, admin = bearer(control.token("local")), bearer(control.token())
        as_host = {method.name: await refusal(channel, method, b"", host) for method in PUBLIC}
        as_admin = {method.name: await refusal(channel, method, b"", admin) for method in HOSTS}
    codes = {name: error.code().name for name, error in (as_host | as_admin).items()}
    assert codes == dict.fromkeys(codes, "PERMISSION_DENIED")


@pytest.mark.parametrize("body", [b"", b"\xff" * 64, b"\x08\x96\x01" * 10], ids=["empty", "noise", "numbers"])
async def test_no_method_fails_internally_on_senseless_requests(
    control: Control, channel: grpc.aio.Channel, body: bytes
) -> None:
    """Every error is typed, carries its request id, and shows nothing of the inside."""
    for method in METHODS:
        error = await outcome(channel, method, body, bearer(control.token("local" if method in HOSTS else "")))
        if error is None:
            continue
        assert error.code().name not in {"INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED", "CANCELLED"}, method.name
        status = details(error)
        assert {"google.rpc.ErrorInfo", "google.rpc.RequestInfo"} <= {each.TypeName() for each in status.details}
        assert "Traceback" not in status.message


async def test_bytes_that_are_no_message_are_an_invalid_argument(control: Control, channel: grpc.aio.Channel) -> None:
    for method in PUBLIC:
        error = await refusal(channel, method, b"\xff" * 64, bearer(control.token()))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_violations_are_json_pointers(client: Client) -> None:
    specs = [TicketSpec(title="fine"), TicketSpec(title="", tags=["a", ""], type=99)]  # type: ignore[arg-type]
    specs[1].resources.labels["a/b"] = "x" * 64
    with pytest.raises(InvalidArgumentError) as refused:
        await client.tickets.create_all(specs)
    assert {violation.field for violation in refused.value.violations} == {
        "/specs/1/title",
        "/specs/1/tags/1",
        "/specs/1/type",
        "/specs/1/resources/labels/a~1b",
    }
    assert refused.value.request_id
    assert await client.tickets.list() == []


async def test_a_card_is_refused_by_pointers_into_the_card(client: Client) -> None:
    card = {"name": "x", "features": [{"title": "a", "depends_on": ["a"]}], "surprise": 1}
    with pytest.raises(InvalidArgumentError) as refused:
        await client.tickets.import_spec(card)
    fields = {violation.field for violation in refused.value.violations}
    assert "/surprise" in fields
    assert any(field.startswith("/features/0/depends_on") for field in fields)
    assert await client.tickets.list() == []


async def test_only_the_masked_fields_are_checked_and_taken(client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="before", priority=3), hold=True)
    changed = await client.tickets.update(ticket.id, TicketSpec(title="", priority=7), ["priority"])
    assert (changed.spec.title, changed.spec.priority) == ("before", 7)
    with pytest.raises(InvalidArgumentError) as refused:
        await client.tickets.update(ticket.id, TicketSpec(title=""), ["title"])
    assert refused.value.violations[0].field == "/spec/title"
    with pytest.raises(InvalidArgumentError) as refused:
        await client.tickets.update(ticket.id, TicketSpec(title="x"), ["state"])
    assert refused.value.violations[0].field == "/update_mask"


async def test_a_message_over_the_cap_is_refused_and_the_connection_lives(
    control: Control, channel: grpc.aio.Channel
) -> None:
    stub = TicketServiceStub(channel)
    huge = tickets.CreateTicketRequest(spec=ticket_pb2.TicketSpec(title="x", description="x" * (5 << 20)))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.CreateTicket(huge, metadata=bearer(control.token()))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await stub.ListTickets(tickets.ListTicketsRequest(), metadata=bearer(control.token()))


async def test_metadata_of_64_kb_is_refused(control: Control, channel: grpc.aio.Channel) -> None:
    method = next(each for each in PUBLIC if each.name.endswith("ListTickets"))
    error = await refusal(channel, method, b"", (*bearer(control.token()), ("x-much", "x" * 65536)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await raw(channel, method, b"", bearer(control.token()))


async def test_a_call_without_a_deadline_is_answered(control: Control, channel: grpc.aio.Channel) -> None:
    method = next(each for each in PUBLIC if each.name.endswith("ListTickets"))
    await raw(channel, method, b"", bearer(control.token()), timeout=None)


async def test_a_stream_that_closes_before_its_first_message_is_refused(
    control: Control, channel: grpc.aio.Channel
) -> None:
    for name, token in (("/swarm.vm.v1.VmService/Console", ""), ("/swarm.hostlink.v1.HostLinkService/Attach", "local")):
        call: Any = channel.stream_stream(name)(metadata=bearer(control.token(token)))
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_method_is_unimplemented(control: Control, channel: grpc.aio.Channel) -> None:
    untyped: Any = channel
    for name in ("/swarm.ticket.v1.TicketService/Explode", "/swarm.none.v1.None/Get"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await untyped.unary_unary(name)(b"", metadata=bearer(control.token()))
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_callers_request_id_comes_back(control: Control, channel: grpc.aio.Channel) -> None:
    method = next(each for each in PUBLIC if each.name.endswith("GetTicket"))
    body = tickets.GetTicketRequest(id="TKT-404").SerializeToString()
    error = await refusal(channel, method, body, (*bearer(control.token()), ("x-request-id", "mine-1")))
    info = error_details_pb2.RequestInfo()
    assert any(detail.Unpack(info) for detail in details(error).details)
    assert info.request_id == "mine-1"
    error = await refusal(channel, method, body, (*bearer(control.token()), ("x-request-id", "a b<script>")))
    assert any(detail.Unpack(info) for detail in details(error).details)
    assert info.request_id.startswith("rq_")


async def test_the_same_key_and_request_get_the_same_answer(client: Client) -> None:
    spec = TicketSpec(title="once")
    first = await client.tickets.create(spec, key="key-1")
    assert await client.tickets.create(spec, key="key-1") == first
    assert len(await client.tickets.list()) == 1
    with pytest.raises(AbortedError) as refused:
        await client.tickets.create(TicketSpec(title="another"), key="key-1")
    assert refused.value.reason == "idempotency_key_reused"
    with pytest.raises(AbortedError):
        await client.tickets.cancel(first.id, key="key-1")


async def test_many_at_once_with_one_key_do_it_once(client: Client) -> None:
    made = await asyncio.gather(*(client.tickets.create(TicketSpec(title="x"), key="k") for _ in range(20)))
    assert len({ticket.id for ticket in made}) == 1


async def test_a_refused_request_leaves_its_key_free(client: Client) -> None:
    with pytest.raises(InvalidArgumentError):
        await client.tickets.create(TicketSpec(title="x", agent="nobody"), key="k")
    assert (await client.tickets.create(TicketSpec(title="x"), key="k")).key == "TKT-001"


async def test_a_reply_that_is_lost_after_the_commit_is_given_again(home: Path) -> None:
    """The process ends between commit and reply; the client repeats with its key and gets the first answer."""
    async with control_plane(home) as first, first.client() as client:
        made = await client.tickets.create(TicketSpec(title="once"), key="lost")
    async with control_plane(home) as second, second.client() as client:
        assert await client.tickets.create(TicketSpec(title="once"), key="lost") == made
        assert len(await client.tickets.list()) == 1


async def test_a_client_rides_out_a_restart(home: Path) -> None:
    async with control_plane(home) as first:
        client = first.client(retries=8)
        ticket = await client.tickets.create(TicketSpec(title="before"), hold=True)
        watch = client.tickets.watch(ticket.id)
        seen = [event.seq for event in (await anext(watch)).events]
    made = asyncio.create_task(client.tickets.create(TicketSpec(title="meanwhile"), hold=True))
    await asyncio.sleep(0.2)
    async with control_plane(home):
        assert (await made).key == "TKT-002"
        await client.tickets.release(ticket.id)
        async for answer in watch:
            seen += [event.seq for event in answer.events]
            if any(event.type == "ticket.state" for event in answer.events):
                break
        await watch.aclose()
        await client.close()
    assert seen == list(range(1, len(seen) + 1))


async def test_audited_calls_leave_a_row_with_the_act(control: Control, client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"), hold=True)
    await client.tickets.cancel(ticket.id)
    with pytest.raises(NotFoundError):
        await client.tickets.cancel("TKT-999")
    await client.coordinator.cleanup()
    rows = apsw.Connection(str(control.config.database)).execute("SELECT action, principal, data FROM audit ORDER BY 1")
    found = [(action, principal, json.loads(data)["outcome"]) for action, principal, data in rows]
    assert found == [
        ("cleanup.run", "admin", "started"),
        ("cleanup.run", "admin", "ok"),
        ("ticket.cancel", "admin", "ok"),
        ("ticket.create", "admin", "ok"),
    ]


async def test_an_audit_row_names_what_was_made_and_which_fields_were_changed(control: Control, client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="secret words"), hold=True)
    many = await client.tickets.create_all([TicketSpec(title="one"), TicketSpec(title="two")], hold=True)
    await client.tickets.update(ticket.id, TicketSpec(title="others", priority=3), ["title", "priority"])
    rows = apsw.Connection(str(control.config.database)).execute("SELECT data FROM audit ORDER BY seq")
    first, batch, change = [json.loads(data) for (data,) in rows]
    assert first["id"] == ticket.id
    assert batch["ids"] == [each.id for each in many]
    assert (change["id"], change["fields"]) == (ticket.id, ["title", "priority"])
    assert "secret words" not in str(first)


async def test_the_limit_of_calls_says_when_to_come_back(home: Path) -> None:
    async with control_plane(home, rate_limit_admin=3) as control, control.client(retries=0) as client:
        for _ in range(3):
            await client.registry.list()
        with pytest.raises(ResourceExhaustedError) as refused:
            await client.registry.list()
        assert refused.value.retry_after_s is not None
        assert 0 < refused.value.retry_after_s <= 60


async def test_an_open_stream_counts_once(home: Path) -> None:
    async with control_plane(home, rate_limit_admin=3) as control, control.client() as client:
        ticket = await client.tickets.create(TicketSpec(title="x"), hold=True)
        watch = client.tickets.watch(ticket.id)
        await anext(watch)
        await client.tickets.update(ticket.id, TicketSpec(title="y"), ["title"])
        answer = await anext(watch)
        assert answer.ticket.spec.title == "y"
        await watch.aclose()


async def test_a_replaced_token_ends_the_old_one(control: Control, client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"), hold=True)
    watch = client.tickets.watch(ticket.id)
    await anext(watch)
    token = control.config.state_dir / "admin.token"
    token.write_text("swm_adm_another\n")
    async with asyncio.timeout(60):
        with pytest.raises(UnauthenticatedError):
            await anext(watch)
    with pytest.raises(UnauthenticatedError):
        await client.tickets.list()
    async with control.client() as later:
        assert len(await later.tickets.list()) == 1


async def test_a_token_file_that_others_can_read_is_not_taken(control: Control, client: Client) -> None:
    (control.config.state_dir / "admin.token").chmod(0o644)
    await asyncio.sleep(0.6)
    with pytest.raises(UnauthenticatedError):
        await client.tickets.list()


async def test_unknown_faults_are_internal_without_their_inside(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the secret inside")

    monkeypatch.setattr("controlplane.usecases.agents.list_agents", explode)
    with caplog.at_level(logging.INFO), pytest.raises(Exception, match="internal error") as failed:
        await client.registry.list()
    assert "secret" not in str(failed.value)
    request_id = failed.value.request_id  # type: ignore[attr-defined]
    assert request_id in str(failed.value)
    assert "the secret inside" in caplog.text


async def test_health_follows_the_process(home: Path) -> None:
    async with control_plane(home) as control, control.channel() as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "swarm.ticket.v1.TicketService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError):
            await health.Check(health_pb2.HealthCheckRequest(service="swarm.none"))


async def listed(control: Control) -> set[str]:
    async with control.channel() as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        return {service.name async for answer in call for service in answer.list_services_response.service}


async def test_reflection_can_be_switched(home: Path) -> None:
    async with control_plane(home) as control:
        assert "swarm.ticket.v1.TicketService" in await listed(control)
    async with control_plane(home, reflection=False) as control:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await listed(control)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_cancelled_watch_frees_what_it_held(control: Control, client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"), hold=True)
    before = len(asyncio.all_tasks())
    for _ in range(20):
        watch = client.tickets.watch(ticket.id)
        await anext(watch)
        await watch.aclose()
    await asyncio.sleep(0.2)
    assert len(asyncio.all_tasks()) <= before + 2


async def test_epics_come_from_cards_with_their_dependencies(client: Client) -> None:
    card = {
        "name": "Library",
        "features": [{"title": "a"}, {"title": "b", "depends_on": ["a"]}],
    }
    dry = await client.tickets.import_spec(card, validate_only=True)
    assert len(dry.tickets) == 2
    assert await client.tickets.list() == []
    made = await client.tickets.import_spec(card, hold=True)
    assert made.epic.spec.type == TicketType.TICKET_TYPE_EPIC
    assert list(made.tickets[1].spec.depends_on) == [made.tickets[0].id]
    assert [ticket.key for ticket in await client.tickets.list(parent_id=made.epic.id)] == ["TKT-002", "TKT-003"]


async def test_streams_beyond_the_cap_are_refused_and_the_rest_goes_on(home: Path) -> None:
    async with control_plane(home, max_concurrent_rpcs=3) as control, control.client() as client:
        ticket = await client.tickets.create(TicketSpec(title="x"), hold=True)
        watches = [client.tickets.watch(ticket.id) for _ in range(3)]
        for watch in watches:
            await anext(watch)
        with pytest.raises(ResourceExhaustedError):
            await client.tickets.list()
        for watch in watches:
            await watch.aclose()
        await eventually(lambda: answers(client), wanted=True)


async def answers(client: Client) -> bool:
    try:
        await client.tickets.list()
    except ResourceExhaustedError:
        return False
    return True
