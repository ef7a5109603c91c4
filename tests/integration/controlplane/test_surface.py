"""What people ask of tickets, of what runs, and of the fleet, through the real edge and the real link."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from swarm.hostlink.v1 import hostlink_pb2 as link
from swarm.ticket.v1 import service_pb2 as pb
from swarm.ticket.v1.bulk_pb2 import BulkUpdateTicketsRequest
from swarm_sdk import (
    BulkAction,
    Client,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ProjectSpec,
    Ticket,
    TicketSpec,
    name_of,
)
from tests.fakes import host as fake
from tests.fakes.control import Control, control_plane, eventually
from tests.fakes.host import FakeHost
from tests.integration.network.test_replies_lost import world

Refused = Callable[[Client], Awaitable[object]]


@asynccontextmanager
async def obedient(host: FakeHost) -> AsyncIterator[list[link.Command]]:
    """The host does what it is told; what that was comes out."""
    told: list[link.Command] = []

    async def obey() -> None:
        while True:
            for event in [event for event in host.received if event.HasField("command")][len(told) :]:
                told.append(event.command)
                done = link.CommandUpdate(command_id=event.command.command_id, done=True, fraction=1.0)
                await host.send(link.HostEvent(command_update=done))
            async with host.arrived:
                await host.arrived.wait()

    task = asyncio.create_task(obey())
    yield told
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def runs(client: Client, host: FakeHost) -> tuple[Ticket, link.AttemptRef]:
    ticket = await client.tickets.create(TicketSpec(title="Do it", agent="echo"))
    ref = (await host.assignment(1)).attempt
    await host.deliver(fake.vm_report("vm_1"), fake.started(ref), fake.running(ref), fake.logged(ref, "one", "two"))
    return ticket, ref


async def test_what_runs_is_shown_and_followed(client: Client, host: FakeHost) -> None:
    assert await client.agents.list() == []
    async with aclosing(client.agents.watch()) as changes, asyncio.timeout(60):
        assert list((await anext(changes)).agents) == []
        ticket, ref = await runs(client, host)
        async for change in changes:
            if [name_of(agent, "state") for agent in change.agents] == ["running"]:
                break
        (agent,) = await client.agents.list()
        assert (agent.id, agent.ticket_key, agent.agent) == (ref.attempt_id, ticket.key, "echo")
        assert (agent.host_name, agent.vm_id, agent.attempt, agent.last_log) == ("local", "vm_1", 1, "two")
        assert [line.text for line in await client.agents.logs(ticket.key, tail=1)] == ["two"]
        await host.deliver(fake.finished(ref, head=""))
        async for change in changes:
            if change.ended:
                assert list(change.ended) == [ref.attempt_id]
                break
    with pytest.raises(NotFoundError, match="has ended"):
        await client.agents.get(ref.attempt_id)
    assert [line.text for line in await client.agents.logs(ref.attempt_id)] == ["one", "two"]


async def test_its_vm_is_paused_resumed_and_destroyed(client: Client, host: FakeHost) -> None:
    ticket, ref = await runs(client, host)
    async with obedient(host) as told:
        await client.agents.pause(ticket.key)
        await client.agents.resume(ref.attempt_id)
        await client.agents.terminate(ticket.id)
    assert [(command.vm.vm_id, command.vm.verb) for command in told] == [("vm_1", 1), ("vm_1", 2), ("vm_1", 3)]


async def test_a_ticket_shows_what_it_changes(home: Path) -> None:
    async with world(home) as here:
        spec = TicketSpec(title="Change", project_id=await here.project())
        made = await here.client.tickets.create(spec)
        assert (await here.client.tickets.diff(made.key)).head == ""
        given, git = await here.assignment(made), here.upstream.git
        base = git("rev-parse", "main")
        blob = git("hash-object", "-w", str(Path(__file__)))
        tree = git("rev-parse", f"{base}^{{tree}}")
        listing = git("ls-tree", tree).replace("a.txt", "b.txt") + f"\n100644 blob {blob}\tdeep test.py\n"
        head = git("commit-tree", mktree(here.upstream.path, listing), "-p", base, "-m", "work")
        git("update-ref", given.repository.push_ref, head)
        result = fake.finished(given.attempt, head=head)
        result.finished.base = base
        await here.host.deliver(fake.running(given.attempt), result)
        await here.client.tickets.wait(made.id, timeout_s=20)
        found = await here.client.tickets.diff(made.key)
        assert (found.base, found.head, found.truncated, found.changed_files) == (base, head, False, 2)
        lines = len(git("cat-file", "-p", blob).splitlines())
        assert [(file.path, file.old_path, file.additions) for file in found.files] == [
            ("b.txt", "a.txt", 0),
            ("deep test.py", "", lines),
        ]
        assert b"rename from a.txt" in found.diff


def mktree(repository: Path, listing: str) -> str:
    import subprocess  # noqa: PLC0415  # git's one command that reads a list

    done = subprocess.run(["git", "mktree"], cwd=repository, input=listing, check=True, capture_output=True, text=True)
    return done.stdout.strip()


async def test_who_watches_a_ticket_that_is_deleted_is_told(client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x"), hold=True)
    async with aclosing(client.tickets.watch(ticket.id)) as answers, asyncio.timeout(60):
        await anext(answers)
        await client.tickets.delete(ticket.key)
        with pytest.raises(NotFoundError):
            await anext(answers)
    assert (await client.tickets.create(TicketSpec(title="y"), hold=True)).key == "TKT-002"


async def test_a_project_goes_when_its_work_is_over(client: Client) -> None:
    project = await client.projects.create(ProjectSpec(name="short-lived"))
    ticket = await client.tickets.create(TicketSpec(title="x", project_id=project.id), hold=True)
    with pytest.raises(FailedPreconditionError, match="TKT-001"):
        await client.projects.delete(project.id)
    await client.tickets.cancel(ticket.id)
    await client.projects.delete(project.id)
    with pytest.raises(NotFoundError):
        await client.projects.get(project.id)
    with pytest.raises(FailedPreconditionError, match="was deleted"):
        await client.tickets.retry(ticket.id)


async def test_all_hosts_are_shown_as_one(client: Client, host: FakeHost) -> None:
    await runs(client, host)
    status = await client.hosts.swarm()
    assert (status.hosts, dict(status.hosts_by_state), status.hosts_connected) == (1, {"online": 1}, 1)
    assert (status.vms, status.agents, status.queue_depth, status.placing) == (1, 1, 0, True)
    assert status.used.vms == 1
    assert status.capacity.vms >= 1


def needing_claude() -> bytes:
    manifest = {"name": "asker", "version": "1.0.0", "upstreams": ["claude"]}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in (("agent.json", json.dumps(manifest)), ("run", "#!/bin/sh\n")):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content.encode()))
    return data.getvalue()


async def test_while_claude_fails_what_needs_it_waits_and_loses_no_attempt(home: Path) -> None:
    async with (
        control_plane(home, retry_delays=(300.0,)) as control,
        control.client() as client,
        control.host() as host,
    ):
        await client.registry.publish(needing_claude())
        for number in range(1, 4):
            await client.tickets.create(TicketSpec(title="asks", agent="asker"))
            ref = (await host.assignment(number)).attempt
            await host.deliver(fake.started(ref), fake.finished(ref, head="", cause="upstream_down"))
        await eventually(lambda: state(client), "open")
        circuit = await client.coordinator.circuit()
        assert (circuit.upstream, circuit.ended, circuit.failed, circuit.failure_rate) == ("claude", 3, 3, 1.0)
        held = await client.tickets.create(TicketSpec(title="waits", agent="asker"))
        other = await client.tickets.create(TicketSpec(title="goes on", agent="echo"))
        assert (await host.assignment(4)).attempt.ticket_id == other.id
        assert "waits for claude" in (await client.coordinator.status()).unplaceable[held.key]
        assert (await client.tickets.get(held.key)).attempts == 0


async def state(client: Client) -> str:
    return name_of(await client.coordinator.circuit(), "state")


def listing(**fields: Any) -> Refused:
    async def ask(client: Client) -> object:
        request = pb.ListTicketsRequest(**fields)
        return await client.transport.read(client.tickets._stub.ListTickets, request)

    return ask


def bulk(**fields: Any) -> Refused:
    async def ask(client: Client) -> object:
        request = BulkUpdateTicketsRequest(**fields)
        return await client.transport.change(client.tickets._stub.BulkUpdateTickets, request)

    return ask


TAG = BulkAction.BULK_ACTION_TAG
BAD: dict[str, tuple[Refused, str]] = {
    "an order of no name": (listing(order_by="tenant_id"), "/order_by"),
    "an order with more": (listing(order_by="key; DROP TABLE ticket"), "/order_by"),
    "a query too long": (listing(query="x" * 201), "/query"),
    "a page of -1": (listing(page_size=-1), "/page_size"),
    "a page of 1e9": (listing(page_size=10**9), "/page_size"),
    "a forged token": (listing(page_token="AAAA", order_by="priority"), "/page_token"),
    "no ids": (bulk(action=TAG, add_tags=["a"]), "/ids"),
    "too many ids": (bulk(ids=[f"tk_{number}" for number in range(501)], action=TAG, add_tags=["a"]), "/ids"),
    "an id twice": (bulk(ids=["tk_1", "tk_1"], action=TAG, add_tags=["a"]), "/ids"),
    "an empty id": (bulk(ids=[""], action=TAG, add_tags=["a"]), "/ids/0"),
    "no action": (bulk(ids=["tk_1"]), "/action"),
    "an unknown action": (bulk(ids=["tk_1"], action=99), "/action"),
    "no tag": (bulk(ids=["tk_1"], action=TAG), "/add_tags"),
    "a tag too long": (bulk(ids=["tk_1"], action=TAG, add_tags=["x" * 64]), "/add_tags/0"),
    "a priority of 10": (bulk(ids=["tk_1"], action=BulkAction.BULK_ACTION_PRIORITIZE, priority=10), "/priority"),
    "a tail of -1": (lambda client: client.agents.logs("tk_1", tail=-1), "/tail"),
    "a tail of 1e9": (lambda client: client.agents.logs("tk_1", tail=10**9), "/tail"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_is_named_by_its_field(client: Client, name: str) -> None:
    ask, field = BAD[name]
    with pytest.raises(InvalidArgumentError) as refused:
        await ask(client)
    assert [violation.field for violation in refused.value.violations] == [field]
    assert refused.value.request_id


@pytest.mark.parametrize("text", ["%", "_", "'", '"', "\\", "a\u202eb", "\u200b", "x') OR 1=1 --", "../..", "%2e"])
async def test_any_text_is_searched_for_and_no_id_is_a_path(client: Client, text: str) -> None:
    made = await client.tickets.create(TicketSpec(title="plain", description=f"<{text}>"), hold=True)
    await client.tickets.create(TicketSpec(title="another"), hold=True)
    assert [ticket.key for ticket in await client.tickets.list(query=f"<{text}>")] == [made.key]
    for ask in (client.agents.get, client.tickets.diff, client.tickets.delete, client.projects.delete):
        with pytest.raises(NotFoundError):
            await ask(text)


async def test_no_text_holds_a_nul(client: Client) -> None:
    spec = TicketSpec(title="x\0", tags=["a", "\0"])
    spec.resources.labels["zone"] = "b\0"
    spec.input["a"] = ["\0"]
    with pytest.raises(InvalidArgumentError) as refused:
        await client.tickets.create(spec)
    assert {violation.field for violation in refused.value.violations} == {
        "/spec/title",
        "/spec/tags/1",
        "/spec/resources/labels/zone",
        "/spec/input/fields/a/list_value/values/0/string_value",
    }
    with pytest.raises(InvalidArgumentError):
        await client.tickets.get("\0")


async def test_lists_are_ordered_through_the_edge(control: Control, client: Client) -> None:
    for priority in (3, 1, 2):
        await client.tickets.create(TicketSpec(title="x", priority=priority, assignee="ann"), hold=True)
    first = await client.tickets.list(order_by="priority", assignee="ann", limit=2)
    assert [ticket.spec.priority for ticket in first] == [1, 2]
    assert [ticket.key async for ticket in client.tickets.list(order_by="key desc")] == [
        "TKT-003",
        "TKT-002",
        "TKT-001",
    ]
    assert await client.tickets.list(assignee="bob") == []


async def test_a_tenants_tickets_are_followed_without_a_gap(client: Client) -> None:
    await client.tickets.create(TicketSpec(title="before"), hold=True)
    async with aclosing(client.tickets.watch_tenant()) as news, asyncio.timeout(60):
        start = (await anext(news)).cursor
        made = await client.tickets.create(TicketSpec(title="x"), hold=True)
        told = await anext(news)
        assert ([event.type for event in told.events], [one.key for one in told.tickets]) == (
            ["ticket.created"],
            [made.key],
        )
        await client.tickets.cancel(made.key)
        await client.tickets.delete(made.key)
    kinds, last = list[str](), start
    async with aclosing(client.tickets.watch_tenant(cursor=start)) as news, asyncio.timeout(60):
        while "ticket.deleted" not in kinds:
            told = await anext(news)
            kinds += [event.type for event in told.events]
            assert told.cursor > last
            last = told.cursor
    assert kinds == ["ticket.created", "ticket.state", "ticket.deleted"]


async def test_a_vm_is_followed_to_its_end(client: Client, host: FakeHost) -> None:
    await host.deliver(fake.vm_report("vm_1"))
    async with aclosing(client.vms.watch("vm_1")) as changes, asyncio.timeout(60):
        assert name_of(await anext(changes), "state") == "running"
        await host.deliver(fake.vm_report())
        assert [name_of(vm, "state") async for vm in changes][-1] == "stopped"
