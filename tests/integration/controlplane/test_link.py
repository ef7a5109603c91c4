"""The host link, from a host's side, and what clients see of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from swarm.guest.v1 import guest_pb2
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2
from swarm_sdk import (
    Client,
    FailedPreconditionError,
    HostState,
    NotFoundError,
    Ticket,
    TicketSpec,
    UnavailableError,
    VmState,
    name_of,
)
from tests.fakes import host as fake
from tests.fakes.control import Control, control_plane, eventually
from tests.fakes.host import FakeHost


async def file(client: Client, title: str = "work") -> Ticket:
    return await client.tickets.create(TicketSpec(title=title, agent="echo"))


async def state_of(client: Client, name: str) -> HostState.ValueType:
    return (await client.hosts.get(name)).state


async def test_a_ticket_goes_from_its_filing_to_the_result(client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    assignment = await host.assignment()
    assert assignment.ticket_key == ticket.key
    assert assignment.agent.name == "echo"
    await host.run(assignment, head="")
    done = await client.tickets.wait(ticket.id, timeout_s=10)
    assert name_of(done, "state") == "completed"
    attempt = (await client.tickets.attempts(ticket.id))[0]
    assert attempt.boot.boot_us == 2500
    assert attempt.vm_id == "vm_1"
    logs = await client.tickets.events(ticket.id, types=["agent.log"])
    assert [event.data["text"] for event in logs] == ["working"]


async def test_hosts_show_up_and_go(client: Client, control: Control) -> None:
    async with control.host():
        shown = await client.hosts.get("local")
        assert shown.state == HostState.HOST_STATE_ONLINE
        assert shown.capacity.vms == 8
        assert (await client.coordinator.status()).hosts_online == 1
    await eventually(lambda: state_of(client, "local"), HostState.HOST_STATE_OFFLINE)


async def test_a_message_that_comes_twice_counts_once(client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    await host.deliver(fake.started(ref), fake.running(ref), fake.logged(ref, "once"))
    assert host.call is not None
    again = service_pb2.AttachRequest(seq=host.seq, events=[fake.logged(ref, "once")])
    await host.call.write(again)
    await host.deliver(fake.renewal(1, ref))
    assert len(await client.tickets.events(ticket.id, types=["agent.log"])) == 1


async def test_a_lost_reply_changes_nothing_after_the_reconnect(client: Client, host: FakeHost) -> None:
    """The connection breaks before the acknowledgement arrives; the host cannot know, and sends again."""
    ticket = await file(client)
    assignment = await host.assignment()
    ref = assignment.attempt
    await host.deliver(fake.started(ref), fake.running(ref))
    await host.send(fake.logged(ref, "said once"))
    kept = dict(host.kept)
    await host.until(lambda: host.acked >= host.seq)
    await host.detach()
    host.kept = kept
    await host.attach()
    await host.deliver(fake.finished(ref, head=""))
    assert host.welcome.resume_from >= min(kept)
    assert len(await client.tickets.events(ticket.id, types=["agent.log"])) == 1
    assert name_of(await client.tickets.get(ticket.id), "state") == "completed"


async def test_a_gap_ends_the_stream_and_nothing_of_it_is_kept(client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    await host.deliver(fake.started(ref))
    assert host.call is not None
    assert host.reading is not None
    await host.call.write(service_pb2.AttachRequest(seq=host.seq + 2, events=[fake.running(ref)]))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await host.reading
    assert ended.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert name_of(await client.tickets.get(ticket.id), "state") == "assigned"


async def test_a_message_with_too_much_in_it_ends_the_stream(client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    assert host.call is not None
    assert host.reading is not None
    events = [fake.started(ref), *[fake.renewal(1, ref)] * 1000]
    await host.call.write(service_pb2.AttachRequest(seq=host.seq + 1, events=events))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await host.reading
    assert ended.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not await client.tickets.events(ticket.id, types=["attempt.started"])


async def test_a_restarted_control_plane_resumes_where_it_was(home: Path) -> None:
    async with control_plane(home) as first:
        host = first.host()
        async with first.client() as client:
            await host.attach()
            ticket = await file(client)
            assignment = await host.assignment()
            await host.deliver(fake.started(assignment.attempt), fake.running(assignment.attempt))
            await host.detach()
    await host.channel.close()
    async with control_plane(home) as second, second.client() as client:
        later = second.host()
        later.boot_id, later.seq, later.last_control = host.boot_id, host.seq, host.last_control
        later.attempts = host.attempts
        async with later:
            assert later.welcome.resume_from == host.seq
            await later.run(assignment, head="")
        assert name_of(await client.tickets.get(ticket.id), "state") == "completed"


async def test_a_newer_stream_of_the_same_host_takes_over(control: Control, client: Client, host: FakeHost) -> None:
    async with control.host() as newer:
        assert host.reading is not None
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await host.reading
        assert ended.value.code() is grpc.StatusCode.ABORTED
        await file(client)
        await newer.assignment()
    assert await host.expect("assignment", 0) == []


async def refused(host: FakeHost) -> grpc.StatusCode:
    """How a stream ends that begins with what the host would say now."""
    call = host.stub.Attach(metadata=host.metadata)
    await call.write(service_pb2.AttachRequest(hello=host.hello()))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call.read()
    return ended.value.code()


async def test_a_hello_that_comes_after_a_newer_one_loses_nothing(client: Client, host: FakeHost) -> None:
    """A stream that stalled for a minute delivers what the host said before it opened the next one."""
    await host.detach()
    await host.attach()
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    await host.deliver(fake.running(ref))
    host.streams -= 1
    assert await refused(host) is grpc.StatusCode.ABORTED
    host.streams += 1
    assert await refused(host) is grpc.StatusCode.ABORTED
    assert name_of((await client.tickets.attempts(ticket.id))[0], "state") == "running"
    await host.deliver(fake.finished(ref, head=""))
    await client.tickets.wait(ticket.id, timeout_s=30)


async def test_a_daemon_that_another_took_over_from_never_comes_back(control: Control, host: FakeHost) -> None:
    async with control.host() as newer:
        host.streams += 1
        assert await refused(host) is grpc.StatusCode.ABORTED
        assert newer.reading is not None
        assert not newer.reading.done()


async def test_a_host_may_not_touch_what_is_leased_to_another(control: Control, client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    async with control.host("other") as other:
        await other.deliver(fake.running(ref), fake.logged(ref, "I was here"), fake.finished(ref, head=""))
        revoked = await other.expect("revoke")
        assert revoked[0].revoke.attempt == ref
        await other.deliver(fake.renewal(7, ref))
        renewed = (await other.expect("renewed"))[0].renewed
        assert (renewed.nonce, list(renewed.attempts), list(renewed.stale)) == (7, [], [ref])
    shown = await client.tickets.get(ticket.id)
    assert name_of(shown, "state") == "assigned"
    assert await client.tickets.events(ticket.id, types=["agent.log"]) == []


async def test_a_fence_that_is_over_or_of_another_ticket_is_revoked(client: Client, host: FakeHost) -> None:
    one, two = await file(client, "one"), await file(client, "two")
    first, second = (await host.assignment(1)).attempt, (await host.assignment(2)).attempt
    mixed = pb.AttemptRef(attempt_id=first.attempt_id, ticket_id=second.ticket_id, fence=first.fence)
    later = pb.AttemptRef(attempt_id=first.attempt_id, ticket_id=first.ticket_id, fence=first.fence + 1)
    await host.deliver(fake.finished(mixed, head=""), fake.finished(later, head=""))
    assert [event.revoke.attempt for event in await host.expect("revoke", 2)] == [mixed, later]
    for ticket in (one, two):
        assert name_of(await client.tickets.get(ticket.id), "state") == "assigned"


async def test_renewals_name_what_is_held(client: Client, host: FakeHost) -> None:
    await file(client)
    ref = (await host.assignment()).attempt
    await host.deliver(fake.renewal(41, ref))
    renewed = (await host.expect("renewed"))[-1].renewed
    assert (renewed.nonce, list(renewed.attempts), list(renewed.stale)) == (41, [ref], [])


@pytest.mark.parametrize(
    "batch",
    [
        b"\xff" * 100,
        b"\x0a\xff\xff\xff\xff\x0f",
        guest_pb2.EventBatch(events=[guest_pb2.GuestEvent(type="log")] * 1001).SerializeToString(),
    ],
    ids=["noise", "length beyond the end", "too many"],
)
async def test_hostile_events_are_noted_and_end_nothing(client: Client, host: FakeHost, batch: bytes) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    await host.deliver(fake.running(ref), fake.relayed(ref, batch))
    noted = await client.tickets.events(ticket.id, types=["call.blocked"])
    assert "unreadable" in str(noted[0].data["text"])
    await host.deliver(fake.finished(ref, head=""))
    assert name_of(await client.tickets.get(ticket.id), "state") == "completed"


async def test_events_of_unknown_kinds_and_odd_values_are_cleaned(client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    odd = guest_pb2.GuestEvent(seq=1, type="log", text="a\0b" + "x" * 20_000, time_ns=1 << 62)
    unknown = guest_pb2.GuestEvent(seq=2, type="ticket.state", text="completed")
    await host.deliver(fake.relayed(ref, guest_pb2.EventBatch(events=[odd, unknown]).SerializeToString()))
    events = await client.tickets.events(ticket.id)
    texts = [str(event.data["text"]) for event in events if event.type.startswith("agent.")]
    assert len(texts) == 1
    assert texts[0].startswith("a\ufffdb")
    assert len(texts[0]) == 8192


@pytest.mark.parametrize("outcome", [b"\xff\xff", b"", guest_pb2.Outcome(status="victory").SerializeToString()])
async def test_a_hostile_outcome_fails_the_attempt(client: Client, host: FakeHost, outcome: bytes) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    await host.deliver(fake.running(ref), fake.finished(ref, outcome=outcome))
    attempt = (await client.tickets.attempts(ticket.id))[0]
    assert attempt.cause == "violation"


async def test_a_head_that_is_no_object_id_fails_the_attempt(client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    await host.deliver(fake.finished(ref, head="--upload-pack=x"))
    assert (await client.tickets.attempts(ticket.id))[0].cause == "violation"


async def test_a_question_waits_for_its_answer(client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    await host.deliver(fake.running(ref), fake.asked(ref, "Which colour?"))
    shown = await client.tickets.get(ticket.id)
    assert (name_of(shown, "state"), shown.question) == ("waiting", "Which colour?")
    await client.tickets.answer(ticket.id, "green")
    told = (await host.expect("answer"))[0].answer
    assert (told.text, told.number) == ("green", 1)


async def test_an_answer_outlives_a_control_plane_until_the_host_keeps_it(home: Path) -> None:
    """Both that deliver it end before the host says so; the third is told that it has it, and the fourth is silent."""
    host: FakeHost | None = None
    ref, heard = pb.AttemptRef(), []
    for life in range(4):
        async with control_plane(home) as control, control.client() as client:
            later = control.host()
            if host is not None:
                later.boot_id, later.seq, later.attempts = host.boot_id, host.seq, [ref]
                later.last_control = host.last_control
            host = later
            async with host:
                if life == 0:
                    ticket = await file(client)
                    ref = (await host.assignment()).attempt
                    await host.deliver(fake.running(ref), fake.asked(ref, "Which colour?"))
                    await client.tickets.answer(ticket.id, "green")
                if life < 3:
                    heard += [event.answer.text for event in await host.expect("answer")]
                if life == 2:
                    await host.deliver(fake.answered(ref, 1))
                if life == 3:
                    await host.deliver(fake.finished(ref, head=""))
                    assert await host.expect("answer", 0) == []
    assert heard == ["green"] * 3


async def test_a_cancelled_ticket_is_revoked(client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    await client.tickets.cancel(ticket.id, "not needed")
    assert (await host.expect("revoke"))[0].revoke.attempt == ref


async def test_a_burst_of_events_arrives_whole_and_in_order(client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    for number in range(200):
        await host.send(fake.logged(ref, *(f"{number}.{line}" for line in range(5))))
    await host.until(lambda: host.acked >= host.seq)
    events = await client.tickets.events(ticket.id, types=["agent.log"])
    assert [event.data["text"] for event in events] == [f"{n}.{line}" for n in range(200) for line in range(5)]


async def test_bundles_are_for_hosts_that_have_work_for_them(control: Control, client: Client, host: FakeHost) -> None:
    digest = (await client.registry.get("echo")).digest

    async def fetch(by: FakeHost, wanted: str) -> bytes:
        call = by.stub.FetchBundle(service_pb2.FetchBundleRequest(digest=wanted), metadata=by.metadata)
        return b"".join([piece.data async for piece in call])

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await fetch(host, digest)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    await file(client)
    await host.assignment()
    assert b"agent.json" in await fetch(host, digest)
    async with control.host("other") as other:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fetch(other, digest)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_vms_are_those_of_the_host_that_reports_them(control: Control, client: Client, host: FakeHost) -> None:
    await host.deliver(fake.vm_report("vm_a", "vm_b", cpu=1))
    await host.deliver(fake.vm_report("vm_a", "vm_b", cpu=2))
    async with control.host("other") as other:
        await other.deliver(fake.vm_report("vm_a"))
        await other.deliver(fake.vm_report("vm_a", cpu=99))
        assert (await client.vms.get("vm_a")).host_id == host.welcome.host_id
    assert [sample.cpu_seconds for sample in await client.vms.stats("vm_a")] == [1, 2]
    await host.deliver(fake.vm_report("vm_b", cpu=3))
    assert [vm.id for vm in await client.vms.list()] == ["vm_b"]
    assert (await client.vms.get("vm_a")).state == VmState.VM_STATE_STOPPED


async def test_commands_reach_the_host_and_report_back(client: Client, host: FakeHost) -> None:
    async def obey() -> None:
        command = (await host.expect("command"))[0].command
        assert command.bake_template.image == "default"
        for fraction, done in ((0.5, False), (1.0, True)):
            update = pb.CommandUpdate(command_id=command.command_id, fraction=fraction, message="baking", done=done)
            await host.send(pb.HostEvent(command_update=update))

    obeying = asyncio.create_task(obey())
    seen = [step async for step in client.hosts.bake_template("default", host="local")]
    await obeying
    assert [(step.fraction, step.done) for step in seen] == [(0.5, False), (1.0, True)]
    assert seen[0].host_id == host.welcome.host_id


async def test_a_command_that_fails_on_the_host_fails_with_its_code(client: Client, host: FakeHost) -> None:
    async def refuse() -> None:
        command = (await host.expect("command"))[0].command
        update = pb.CommandUpdate(
            command_id=command.command_id, done=True, error_code="FAILED_PRECONDITION", error="the template is damaged"
        )
        await host.send(pb.HostEvent(command_update=update))

    refusing = asyncio.create_task(refuse())
    with pytest.raises(FailedPreconditionError, match="the template is damaged"):
        [step async for step in client.hosts.verify_template(host="local")]
    await refusing


async def test_commands_to_a_host_that_is_away_are_unavailable(control: Control, client: Client) -> None:
    async with control.host():
        pass
    with pytest.raises(UnavailableError):
        [step async for step in client.hosts.build_image(host="local")]


async def test_a_console_is_bridged_both_ways(client: Client, host: FakeHost) -> None:
    await host.deliver(fake.vm_report("vm_a"))
    console = await client.vms.console("vm_a")
    command = (await host.expect("command"))[0].command
    assert command.open_console.vm_id == "vm_a"
    stream = host.stub.Console(metadata=host.metadata)
    await stream.write(service_pb2.ConsoleRequest(command_id=command.command_id))
    await stream.write(service_pb2.ConsoleRequest(data=b"login: "))
    output = aiter(console)
    assert await anext(output) == b"login: "
    await console.write(b"root\n")
    typed = await stream.read()
    assert isinstance(typed, service_pb2.ConsoleResponse)
    assert typed.data == b"root\n"
    await stream.write(service_pb2.ConsoleRequest(closed=True))
    with pytest.raises(StopAsyncIteration):
        await anext(output)
    stream.cancel()


async def test_a_console_that_the_host_refuses_says_why(client: Client, host: FakeHost) -> None:
    await host.deliver(fake.vm_report("vm_a"))
    console = await client.vms.console("vm_a")
    command = (await host.expect("command"))[0].command
    update = pb.CommandUpdate(command_id=command.command_id, done=True, error_code="NOT_FOUND", error="no such VM")
    await host.send(pb.HostEvent(command_update=update))
    with pytest.raises(NotFoundError, match="no such VM"):
        [data async for data in console]


async def test_a_console_belongs_to_the_host_that_was_asked(control: Control, client: Client, host: FakeHost) -> None:
    await host.deliver(fake.vm_report("vm_a"))
    console = await client.vms.console("vm_a")
    command = (await host.expect("command"))[0].command
    async with control.host("other") as other:
        stream = other.stub.Console(metadata=other.metadata)
        await stream.write(service_pb2.ConsoleRequest(command_id=command.command_id))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream.read()
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    await console.close()


async def test_a_cordoned_host_is_told_and_stays_cordoned(control: Control, client: Client, host: FakeHost) -> None:
    await client.hosts.cordon("local")
    assert (await host.expect("cordon"))[0].cordon.cordoned
    await file(client)
    await host.detach()
    await host.attach()
    assert host.welcome.cordoned
    assert (await client.hosts.get("local")).state == HostState.HOST_STATE_CORDONED
    await client.hosts.uncordon("local")
    await host.assignment()


async def test_a_revoked_host_is_cut_off(control: Control, host: FakeHost) -> None:
    (control.config.state_dir / "hosts" / "local.token").unlink()
    assert host.reading is not None
    async with asyncio.timeout(60):
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await host.reading
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (service_pb2.AttachRequest(seq=1), grpc.StatusCode.INVALID_ARGUMENT),
        (service_pb2.AttachRequest(hello=pb.Hello(name="local")), grpc.StatusCode.INVALID_ARGUMENT),
        (service_pb2.AttachRequest(hello=pb.Hello(name="other", boot_id="b")), grpc.StatusCode.PERMISSION_DENIED),
        (service_pb2.AttachRequest(seq=4, hello=pb.Hello(boot_id="b")), grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["no hello", "no boot id", "name of another host", "numbered hello"],
)
async def test_a_bad_hello_is_refused(
    control: Control, first: service_pb2.AttachRequest, code: grpc.StatusCode
) -> None:
    host = control.host()
    call = host.stub.Attach(metadata=host.metadata)
    await call.write(first)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() is code
    await host.channel.close()


async def test_a_host_that_says_nothing_for_a_ttl_is_not_attached(home: Path) -> None:
    """Its connection is as good as ever; a process that was stopped looks like that."""
    async with control_plane(home, lease_ttl=3) as control, control.client() as client, control.host():
        assert await state_of(client, "local") == HostState.HOST_STATE_ONLINE
        await eventually(lambda: state_of(client, "local"), HostState.HOST_STATE_OFFLINE, within_s=20)


async def test_a_host_that_half_closes_is_detached(control: Control, client: Client, host: FakeHost) -> None:
    assert host.call is not None
    await host.call.done_writing()
    await eventually(lambda: state_of(client, "local"), HostState.HOST_STATE_OFFLINE)


async def test_a_host_that_comes_back_without_its_attempt_has_lost_it(client: Client, host: FakeHost) -> None:
    ticket = await file(client)
    ref = (await host.assignment()).attempt
    await host.deliver(fake.running(ref))
    await host.detach()
    host.attempts, host.boot_id, host.seq, host.last_control = [], "another-boot", 0, 0
    host.kept, host.received = {}, []
    await host.attach()
    attempts = await client.tickets.attempts(ticket.id)
    assert name_of(attempts[0], "state") == "lost"
    again = await host.assignment()
    assert again.attempt.fence > ref.fence
    assert name_of(await client.tickets.get(ticket.id), "state") == "assigned"
