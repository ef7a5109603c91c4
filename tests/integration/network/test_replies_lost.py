"""I6: a reply that got lost after the commit. Every mutation that honours an idempotency key is tried, by name."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from controlplane.api.methods import Method, methods, services
from swarm.admin.v1 import service_pb2 as admin
from swarm.agent.v1 import service_pb2 as agent
from swarm.audit.v1 import service_pb2 as audit
from swarm.coordinator.v1 import service_pb2 as coordinator
from swarm.fleet.v1 import service_pb2 as fleet
from swarm.hostlink.v1 import hostlink_pb2 as link
from swarm.project.v1 import project_pb2
from swarm.project.v1 import service_pb2 as project
from swarm.pullrequest.v1 import service_pb2 as pullrequest
from swarm.registry.v1 import service_pb2 as registry
from swarm.registry.v1.registry_pb2 import Mapping as Mapping_
from swarm.registry.v1.registry_pb2 import MappingRule
from swarm.ticket.v1 import service_pb2 as ticket
from swarm.ticket.v1.bulk_pb2 import BulkAction, BulkUpdateTicketsRequest
from swarm.vm.v1 import service_pb2 as vm
from swarm_sdk import AbortedError, Client, ProjectSpec, SwarmError, Ticket, TicketSpec, TicketState
from swarm_sdk.transport import Transport
from swarm_sdk.types import Role, TenantSpec, UserSpec
from tests.e2e.harness.upstream import Upstream
from tests.fakes import host as fake
from tests.fakes.control import Control, control_plane
from tests.fakes.fault_proxy import FaultProxy, Toxics
from tests.fakes.host import FakeHost

METHODS = methods(services())
IDEMPOTENT = [each for each in METHODS.values() if each.idempotent]
SERVICES = sorted({method.name.rpartition(".")[0] for method in IDEMPOTENT})


@dataclass
class World:
    """What a request may be about."""

    control: Control
    client: Client
    host: FakeHost
    upstream: Upstream
    obeyed: int = 0

    async def assignment(self, made: Ticket) -> link.Assignment:
        """That of the ticket; the host says nothing of it by itself."""

        def found() -> list[link.Assignment]:
            given = [event.assignment for event in self.host.received if event.HasField("assignment")]
            return [each for each in given if each.attempt.ticket_id == made.id]

        await self.host.until(found)
        return found()[0]

    async def project(self) -> str:
        known = [each.id for each in await self.client.projects.list()]
        spec = ProjectSpec(name="p", repository=str(self.upstream.path))
        return known[0] if known else (await self.client.projects.create(spec)).id

    async def held(self) -> Ticket:
        return await self.client.tickets.create(TicketSpec(title="held"), hold=True)

    async def cancelled(self) -> Ticket:
        return await self.client.tickets.cancel((await self.held()).id)

    async def asking(self) -> Ticket:
        made = await self.client.tickets.create(TicketSpec(title="asks"))
        ref = (await self.assignment(made)).attempt
        await self.host.deliver(fake.running(ref), fake.asked(ref, "which?"))
        return await self.client.tickets.wait(made.id, until=[TicketState.TICKET_STATE_WAITING], timeout_s=10)

    async def running(self) -> Ticket:
        made = await self.client.tickets.create(TicketSpec(title="runs"))
        ref = (await self.assignment(made)).attempt
        await self.host.deliver(fake.running(ref))
        return made

    async def reviewed(self) -> str:
        """Id of an open pull request whose branch exists."""
        made = await self.client.tickets.create(TicketSpec(title="reviewed", project_id=await self.project()))
        assignment = await self.assignment(made)
        git = self.upstream.git
        base = git("rev-parse", "main")
        head = git("commit-tree", f"{base}^{{tree}}", "-p", base, "-m", "work")
        git("update-ref", assignment.repository.push_ref, head)
        result = fake.finished(assignment.attempt, head=head)
        result.finished.base = base
        await self.host.deliver(fake.running(assignment.attempt), result)
        await self.client.tickets.wait(made.id, timeout_s=20)
        return (await self.client.tickets.get(made.id)).pull_request_id

    async def vm(self) -> str:
        await self.host.deliver(fake.vm_report("vm_a"))
        return "vm_a"

    async def in_a_vm(self) -> str:
        """Id of a live attempt."""
        made = await self.client.tickets.create(TicketSpec(title="runs in a VM"))
        ref = (await self.assignment(made)).attempt
        await self.host.deliver(fake.vm_report("vm_b"), fake.started(ref, "vm_b"), fake.running(ref))
        return str(ref.attempt_id)

    async def obey(self) -> None:
        """The host says yes to all that it is told, once."""
        while True:
            async with self.host.arrived:
                await self.host.arrived.wait_for(lambda: len(self.host.received) > self.obeyed)
            told = self.host.received[self.obeyed :]
            self.obeyed += len(told)
            for event in told:
                if event.HasField("command"):
                    done = link.CommandUpdate(command_id=event.command.command_id, done=True, fraction=1.0)
                    await self.host.send(link.HostEvent(command_update=done))
                elif event.HasField("answer"):
                    await self.host.send(fake.answered(event.answer.attempt, event.answer.number))


def bundle() -> bytes:
    """An agent's folder as a tar."""
    manifest = {"name": "mine", "version": "1.0.0", "description": "d", "command": ["./run"]}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in (("agent.json", json.dumps(manifest)), ("run", "#!/bin/sh\n")):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content.encode()))
    return data.getvalue()


def card() -> Struct:
    found = Struct()
    found.update({"name": "card", "features": [{"title": "one"}, {"title": "two"}]})
    return found


def manifest() -> Struct:
    """A workflow."""
    found = Struct()
    found.update({"name": "mine", "version": "1.0.0", "steps": [{"name": "only", "agent": "echo"}]})
    return found


Rows = dict[str, list[tuple[Any, ...]]]
Make = Callable[[World], Awaitable[Message]]


async def create_project(world: World) -> Message:
    spec = project_pb2.ProjectSpec(name="p", repository=str(world.upstream.path))
    return project.CreateProjectRequest(spec=spec)


async def update_project(world: World) -> Message:
    spec = project_pb2.ProjectSpec(name="renamed")
    return project.UpdateProjectRequest(id=await world.project(), spec=spec, update_mask=FieldMask(paths=["name"]))


async def update_ticket(world: World) -> Message:
    mask = FieldMask(paths=["priority"])
    return ticket.UpdateTicketRequest(id=(await world.held()).id, spec=TicketSpec(priority=9), update_mask=mask)


def plain(request: Message) -> Make:
    async def make(world: World) -> Message:
        return request

    return make


def about(kind: Callable[..., Message], find: Callable[[World], Awaitable[Any]], **more: Any) -> Make:
    """A request about something that has to exist first."""

    async def make(world: World) -> Message:
        found = await find(world)
        return kind(id=found if isinstance(found, str) else found.id, **more)

    return make


async def delete_project(world: World) -> Message:
    spec = ProjectSpec(name="short-lived")
    return project.DeleteProjectRequest(id=(await world.client.projects.create(spec)).id)


async def bulk(world: World) -> Message:
    action = BulkAction.BULK_ACTION_TAG
    return BulkUpdateTicketsRequest(ids=[(await world.held()).id, "TKT-999"], action=action, add_tags=["later"])


async def host_id(world: World) -> str:
    return world.host.welcome.host_id


async def update_user(here: World) -> Message:
    spec = UserSpec(email="ann@example.org", name="Ann", role=Role.ROLE_VIEWER)
    made = await here.client.admin.create_user(spec)
    return admin.UpdateUserRequest(id=made.user.id, spec=UserSpec(disabled=True))


REQUESTS: Mapping[str, Make] = {
    "agent.v1.AgentService.PauseAgent": about(agent.PauseAgentRequest, World.in_a_vm),
    "agent.v1.AgentService.ResumeAgent": about(agent.ResumeAgentRequest, World.in_a_vm),
    "agent.v1.AgentService.TerminateAgent": about(agent.TerminateAgentRequest, World.in_a_vm),
    "admin.v1.AdminService.CreateTenant": plain(admin.CreateTenantRequest(id="acme", spec=TenantSpec(name="Acme"))),
    "admin.v1.AdminService.UpdateConfig": plain(admin.UpdateConfigRequest(values={"rate_limit": "99999"})),
    "admin.v1.AdminService.UpdateTenant": plain(admin.UpdateTenantRequest(id="default", spec=TenantSpec(name="Ours"))),
    "admin.v1.AdminService.UpdateUser": update_user,
    "audit.v1.AuditService.VerifyAuditLogs": plain(audit.VerifyAuditLogsRequest()),
    "coordinator.v1.CoordinatorService.Start": plain(coordinator.StartRequest(max_vms=3)),
    "coordinator.v1.CoordinatorService.Stop": plain(coordinator.StopRequest()),
    "coordinator.v1.CoordinatorService.Cleanup": plain(coordinator.CleanupRequest()),
    "fleet.v1.FleetService.CordonHost": about(fleet.CordonHostRequest, host_id),
    "fleet.v1.FleetService.UncordonHost": about(fleet.UncordonHostRequest, host_id),
    "fleet.v1.FleetService.DrainHost": about(fleet.DrainHostRequest, host_id),
    "project.v1.ProjectService.CreateProject": create_project,
    "project.v1.ProjectService.UpdateProject": update_project,
    "project.v1.ProjectService.DeleteProject": delete_project,
    "pullrequest.v1.PullRequestService.MergePullRequest": about(pullrequest.MergePullRequestRequest, World.reviewed),
    "pullrequest.v1.PullRequestService.ClosePullRequest": about(pullrequest.ClosePullRequestRequest, World.reviewed),
    "registry.v1.RegistryService.PublishAgent": plain(registry.PublishAgentRequest(bundle=bundle())),
    "registry.v1.RegistryService.PublishWorkflow": plain(registry.PublishWorkflowRequest(manifest=manifest())),
    "registry.v1.RegistryService.SetMapping": plain(
        registry.SetMappingRequest(mapping=Mapping_(rules=[MappingRule(tags=["docs"], agent="shell")]))
    ),
    "ticket.v1.TicketService.CreateTicket": plain(ticket.CreateTicketRequest(spec=TicketSpec(title="x"), hold=True)),
    "ticket.v1.TicketService.CreateTickets": plain(
        ticket.CreateTicketsRequest(specs=[TicketSpec(title="x"), TicketSpec(title="y")], hold=True)
    ),
    "ticket.v1.TicketService.ImportSpec": plain(ticket.ImportSpecRequest(card=card(), hold=True)),
    "ticket.v1.TicketService.UpdateTicket": update_ticket,
    "ticket.v1.TicketService.DeleteTicket": about(ticket.DeleteTicketRequest, World.held),
    "ticket.v1.TicketService.BulkUpdateTickets": bulk,
    "ticket.v1.TicketService.ReleaseTicket": about(ticket.ReleaseTicketRequest, World.held),
    "ticket.v1.TicketService.RetryTicket": about(ticket.RetryTicketRequest, World.cancelled),
    "ticket.v1.TicketService.CancelTicket": about(ticket.CancelTicketRequest, World.running),
    "ticket.v1.TicketService.AnswerQuestion": about(ticket.AnswerQuestionRequest, World.asking, answer="this"),
    "vm.v1.VmService.BootVms": plain(vm.BootVmsRequest(count=1)),
    "vm.v1.VmService.PauseVm": about(vm.PauseVmRequest, World.vm),
    "vm.v1.VmService.ResumeVm": about(vm.ResumeVmRequest, World.vm),
    "vm.v1.VmService.DeleteVm": about(vm.DeleteVmRequest, World.vm),
    "vm.v1.VmService.CleanupVms": plain(vm.CleanupVmsRequest()),
}
# What remembers their keys is the claim itself; tests/integration/external tries them with a repository to push to.
OF_CLAIMS = {f"ticket.v1.TicketService.{name}Ticket" for name in ("Claim", "Heartbeat", "Complete")}


def test_every_mutation_is_tried() -> None:
    """A new RPC that honours idempotency keys needs a line in the table above."""
    assert {f"swarm.{name}" for name in (*REQUESTS, *OF_CLAIMS)} == {method.name for method in IDEMPOTENT}


@asynccontextmanager
async def world(home: Path) -> AsyncIterator[World]:
    upstream = Upstream.create(home.parent / "up.git", {"a.txt": "one\n"})
    async with control_plane(home) as control, control.client() as client, control.host() as host:
        made = World(control, client, host, upstream)
        obeying = asyncio.create_task(made.obey())
        yield made
        obeying.cancel()
        await asyncio.gather(obeying, return_exceptions=True)


def contents(control: Control) -> Rows:
    """All rows of all tables, as of one moment; how far a host's messages were read is no effect of a call."""
    connection = apsw.Connection(str(control.config.database), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute("BEGIN")
        tables = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)  # noqa: S608 - our tables
            for table in tables
            if table != "link"
        }
    finally:
        connection.close()


async def at_rest(control: Control) -> Rows:
    """The rows once the loops of the control plane have nothing more to do."""
    async with asyncio.timeout(60):
        before: Rows = contents(control)
        after: Rows = {}
        while before != after or any(row[7] is None for row in after["effect"]):
            await asyncio.sleep(0.05)
            before, after = after, contents(control)
    return before


def answers(control: Control, key: str) -> int:
    return sum(row[1] == key for row in contents(control)["answer"])


@pytest.mark.parametrize("service", SERVICES, ids=lambda name: name.rpartition(".")[2])
async def test_a_reply_that_got_lost_is_told_again(home: Path, service: str) -> None:
    async with world(home) as here, FaultProxy(home / "proxy", here.control.socket) as proxy:
        for name, make in REQUESTS.items():
            if not f"swarm.{name}".startswith(f"{service}."):
                continue
            transport = Transport(f"unix:{home / 'proxy'}", here.control.token())
            try:
                await check(here, proxy, transport, METHODS[f"swarm.{name}"], await make(here))
            except BaseException as error:
                error.add_note(name)
                raise
            finally:
                await transport.close()


async def check(here: World, proxy: FaultProxy, transport: Transport, method: Method, request: Message) -> None:
    service, _, key = method.name.rpartition(".")
    call: Any = transport.channel.unary_unary(
        f"/{service}/{key}",
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )
    assert await transport.reachable(10)
    connections = proxy.connections
    before = await at_rest(here.control)
    await proxy.set(down=Toxics(swallow=True))
    calling = asyncio.create_task(transport.change(call, request, key=key))
    async with asyncio.timeout(60):
        while not answers(here.control, key):  # noqa: ASYNC110 - the reply never comes
            await asyncio.sleep(0.01)
    proxy.cut()
    await proxy.heal()
    # The SDK repeats the call with its key, over a new connection.
    answer = await calling
    assert proxy.connections > connections
    once = await at_rest(here.control)
    assert len(once["answer"]) == len(before["answer"]) + 1
    assert len(once["audit"]) > len(before["audit"])
    # So may anybody else, below the SDK.
    again = await call(request, metadata=transport.metadata(key), timeout=60)
    assert again == answer
    assert await at_rest(here.control) == once
    other = type(request).FromString(request.SerializeToString() + b"\xc0\x3e\x01")  # one more field
    with pytest.raises(AbortedError) as refused:
        await transport.change(call, other, key=key)
    assert refused.value.reason == "idempotency_key_reused"
    assert await at_rest(here.control) == once


async def test_bytes_that_come_twice_or_never_end_the_call_cleanly(home: Path) -> None:
    """TCP does not do that; whoever gets such bytes must not hang on them, nor take them for an answer."""
    async with control_plane(home) as control, FaultProxy(home / "proxy", control.socket, seed=5) as proxy:
        for toxics in (Toxics(duplicate=1.0), Toxics(drop=0.5, slice_bytes=20), Toxics(slice_bytes=1)):
            await proxy.set(up=toxics)
            async with Client(f"unix:{home / 'proxy'}", control.token(), retries=0, timeout_s=2) as client:
                try:
                    made = await client.tickets.create(TicketSpec(title="x"), hold=True)
                except SwarmError:
                    continue
                assert made.spec.title == "x"
        await proxy.heal()
        async with control.client() as client:
            assert await client.tickets.list() is not None


async def test_the_proxy_reports_what_grpc_does(home: Path) -> None:
    async with control_plane(home) as control, FaultProxy(home / "proxy", control.socket) as proxy:
        proxy.refuse = True
        async with grpc.aio.insecure_channel(f"unix:{home / 'proxy'}") as channel:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await channel.channel_ready()
