"""I21: every method, asked by the owner of a thing, by another tenant, by a viewer and by nobody at all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from controlplane.api.handlers import External, Runtime, all_bindings
from controlplane.api.methods import Method, methods, services
from controlplane.api.pipeline import Dispatcher
from controlplane.api.stages.ratelimit import RateLimit
from controlplane.domain.audit import AuditHead, Inspection
from controlplane.domain.backup import Piece
from controlplane.domain.call import HOME, Principal, Role
from controlplane.domain.cleanup import CleanupReport
from controlplane.domain.event import NewEvent
from controlplane.domain.lease import TIMES
from controlplane.domain.pullrequest import PullRequestState
from controlplane.domain.run import RunState, WorkflowRun
from controlplane.domain.ticket import AttemptState, Ticket, TicketState
from controlplane.errors import SwarmError, Unauthenticated
from controlplane.events.bus import LocalBus
from controlplane.ports import CommandUpdate, Tx
from controlplane.scheduler.loop import Scheduler
from controlplane.stores.sqlite import SqliteStore
from controlplane.usecases.claiming import Claims
from controlplane.usecases.services import Services
from swarm.agent.v1 import service_pb2 as agent
from swarm.coordinator.v1 import service_pb2 as coordinator
from swarm.fleet.v1 import service_pb2 as fleet
from swarm.project.v1 import service_pb2 as project
from swarm.project.v1.project_pb2 import ProjectSpec
from swarm.pullrequest.v1 import service_pb2 as pullrequest
from swarm.registry.v1 import registry_pb2
from swarm.registry.v1 import service_pb2 as registry
from swarm.ticket.v1 import bulk_pb2, claim_pb2, diff_pb2
from swarm.ticket.v1 import service_pb2 as ticket
from swarm.ticket.v1.ticket_pb2 import TicketSpec
from swarm.vm.v1 import service_pb2 as vm
from tests.fakes.accounts import no_accounts, no_people
from tests.fakes.fleet import FakeFleet, FakeForge
from tests.fakes.seeds import (
    NOW,
    a_host,
    a_project,
    a_pull_request,
    a_ticket,
    a_vm,
    an_agent,
    an_attempt,
)
from tests.integration.network.test_replies_lost import bundle, card, manifest
from tests.sim.database import SEALS
from tests.sim.forge import NoWorkspaces

# What people have of their own, and what runs their tenant, is tried by people with accounts.
ACCOUNTS = {"auth", "key", "admin", "audit", "notification"}
METHODS = {
    name: method
    for name, method in methods(services()).items()
    if "hostlink" not in name and method.noun not in ACCOUNTS
}
RED, BLUE = HOME, "blue"
MARK = "crimson"  # in everything that is the red tenant's
S = TicketState

PRINCIPALS: Mapping[str, Principal] = {
    "owner": Principal("ruth", Role.ADMIN, RED),
    "other": Principal("bob", Role.ADMIN, BLUE),
    "viewer": Principal("rita", Role.VIEWER, RED),
}


class Kind(StrEnum):
    OWN = "own"  # about one thing: not there for another tenant
    LIST = "list"  # the same for everybody, about what is theirs
    NEW = "new"  # makes something of the caller's own
    NAME = "name"  # the same, under a name that only one tenant can have
    SHARED = "shared"  # about what all tenants use
    HOME = "home"  # changes that: for the tenant that runs the deployment


@dataclass(frozen=True)
class Row:
    kind: Kind
    request: Message
    owner: str = "OK"


def own(request: Message, owner: str = "OK") -> Row:
    return Row(Kind.OWN, request, owner)


def listed(request: Message) -> Row:
    return Row(Kind.LIST, request)


def new(request: Message) -> Row:
    return Row(Kind.NEW, request)


def named(request: Message) -> Row:
    return Row(Kind.NAME, request, "ALREADY_EXISTS")


def shared(request: Message) -> Row:
    return Row(Kind.SHARED, request)


def home(request: Message) -> Row:
    return Row(Kind.HOME, request)


def struct(**fields: Any) -> Struct:
    made = Struct()
    made.update(fields)
    return made


MASK = FieldMask(paths=["priority"])
ROWS: Mapping[str, Row] = {
    "agent.v1.AgentService.ListLiveAgents": listed(agent.ListLiveAgentsRequest()),
    "agent.v1.AgentService.GetLiveAgent": own(agent.GetLiveAgentRequest(id="at_tk_4_1")),
    "agent.v1.AgentService.ListAgentLogs": own(agent.ListAgentLogsRequest(id="at_tk_4_1")),
    "agent.v1.AgentService.PauseAgent": own(agent.PauseAgentRequest(id="at_tk_4_1")),
    "agent.v1.AgentService.ResumeAgent": own(agent.ResumeAgentRequest(id="tk_4")),
    "agent.v1.AgentService.TerminateAgent": own(agent.TerminateAgentRequest(id="TKT-004")),
    "agent.v1.AgentService.WatchLiveAgents": listed(agent.WatchLiveAgentsRequest()),
    "coordinator.v1.CoordinatorService.GetStatus": listed(coordinator.GetStatusRequest()),
    "coordinator.v1.CoordinatorService.GetFailures": listed(coordinator.GetFailuresRequest()),
    "coordinator.v1.CoordinatorService.GetCircuit": shared(coordinator.GetCircuitRequest()),
    "coordinator.v1.CoordinatorService.GetCleanupStatus": shared(coordinator.GetCleanupStatusRequest()),
    "coordinator.v1.CoordinatorService.Start": home(coordinator.StartRequest()),
    "coordinator.v1.CoordinatorService.Stop": home(coordinator.StopRequest()),
    "coordinator.v1.CoordinatorService.Cleanup": home(coordinator.CleanupRequest()),
    "coordinator.v1.CoordinatorService.Backup": home(coordinator.BackupRequest()),
    "fleet.v1.FleetService.GetSwarmStatus": listed(fleet.GetSwarmStatusRequest()),
    "fleet.v1.FleetService.ListHosts": shared(fleet.ListHostsRequest()),
    "fleet.v1.FleetService.GetHost": shared(fleet.GetHostRequest(id="hs_1")),
    "fleet.v1.FleetService.CordonHost": home(fleet.CordonHostRequest(id="hs_1")),
    "fleet.v1.FleetService.UncordonHost": home(fleet.UncordonHostRequest(id="hs_1")),
    "fleet.v1.FleetService.DrainHost": home(fleet.DrainHostRequest(id="hs_1")),
    "fleet.v1.FleetService.ListImages": shared(fleet.ListImagesRequest()),
    "fleet.v1.FleetService.BuildImage": home(fleet.BuildImageRequest()),
    "fleet.v1.FleetService.ListTemplates": shared(fleet.ListTemplatesRequest()),
    "fleet.v1.FleetService.BakeTemplate": home(fleet.BakeTemplateRequest()),
    "fleet.v1.FleetService.VerifyTemplate": home(fleet.VerifyTemplateRequest(digest="all")),
    "project.v1.ProjectService.CreateProject": new(project.CreateProjectRequest(spec=ProjectSpec(name="new"))),
    "project.v1.ProjectService.ListProjects": listed(project.ListProjectsRequest()),
    "project.v1.ProjectService.GetProject": own(project.GetProjectRequest(id="pj_1")),
    "project.v1.ProjectService.UpdateProject": own(
        project.UpdateProjectRequest(id="pj_1", spec=ProjectSpec(name=MARK), update_mask=FieldMask(paths=["name"]))
    ),
    "project.v1.ProjectService.DeleteProject": own(project.DeleteProjectRequest(id="pj_2")),
    "pullrequest.v1.PullRequestService.ListPullRequests": listed(pullrequest.ListPullRequestsRequest()),
    "pullrequest.v1.PullRequestService.GetPullRequest": own(pullrequest.GetPullRequestRequest(id="pr_5")),
    "pullrequest.v1.PullRequestService.GetPullRequestDiff": own(pullrequest.GetPullRequestDiffRequest(id="TKT-005")),
    "pullrequest.v1.PullRequestService.MergePullRequest": own(pullrequest.MergePullRequestRequest(id="pr_5")),
    "pullrequest.v1.PullRequestService.ClosePullRequest": own(pullrequest.ClosePullRequestRequest(id="TKT-005")),
    "registry.v1.RegistryService.ListAgents": listed(registry.ListAgentsRequest()),
    "registry.v1.RegistryService.GetAgent": own(registry.GetAgentRequest(name=MARK)),
    "registry.v1.RegistryService.PublishAgent": named(registry.PublishAgentRequest(bundle=bundle())),
    "registry.v1.RegistryService.ListWorkflows": listed(registry.ListWorkflowsRequest()),
    "registry.v1.RegistryService.GetWorkflow": own(registry.GetWorkflowRequest(name=MARK)),
    "registry.v1.RegistryService.PublishWorkflow": named(registry.PublishWorkflowRequest(manifest=manifest())),
    "registry.v1.RegistryService.ListWorkflowRuns": listed(registry.ListWorkflowRunsRequest()),
    "registry.v1.RegistryService.GetWorkflowRun": own(registry.GetWorkflowRunRequest(id="wr_1")),
    "registry.v1.RegistryService.GetMapping": listed(registry.GetMappingRequest()),
    "registry.v1.RegistryService.SetMapping": new(registry.SetMappingRequest(mapping=registry_pb2.Mapping())),
    "ticket.v1.TicketService.CreateTicket": new(ticket.CreateTicketRequest(spec=TicketSpec(title="new"))),
    "ticket.v1.TicketService.CreateTickets": new(ticket.CreateTicketsRequest(specs=[TicketSpec(title="new")])),
    "ticket.v1.TicketService.ImportSpec": new(ticket.ImportSpecRequest(card=card())),
    "ticket.v1.TicketService.ListTickets": listed(ticket.ListTicketsRequest()),
    "ticket.v1.TicketService.GetTicket": own(ticket.GetTicketRequest(id="tk_1")),
    "ticket.v1.TicketService.UpdateTicket": own(
        ticket.UpdateTicketRequest(id="TKT-001", spec=TicketSpec(priority=1), update_mask=MASK)
    ),
    "ticket.v1.TicketService.DeleteTicket": own(ticket.DeleteTicketRequest(id="tk_1")),
    "ticket.v1.TicketService.BulkUpdateTickets": listed(
        bulk_pb2.BulkUpdateTicketsRequest(ids=["tk_1"], action=bulk_pb2.BULK_ACTION_ASSIGN, assignee="eve")
    ),
    "ticket.v1.TicketService.ReleaseTicket": own(ticket.ReleaseTicketRequest(id="tk_1")),
    "ticket.v1.TicketService.RetryTicket": own(ticket.RetryTicketRequest(id="tk_2")),
    "ticket.v1.TicketService.CancelTicket": own(ticket.CancelTicketRequest(id="tk_1")),
    "ticket.v1.TicketService.AnswerQuestion": own(ticket.AnswerQuestionRequest(id="tk_3", answer="this")),
    "ticket.v1.TicketService.ClaimTicket": listed(claim_pb2.ClaimTicketRequest()),
    "ticket.v1.TicketService.HeartbeatTicket": own(
        claim_pb2.HeartbeatTicketRequest(id="tk_4", fence=1), owner="FAILED_PRECONDITION"
    ),
    "ticket.v1.TicketService.CompleteTicket": own(
        claim_pb2.CompleteTicketRequest(id="tk_4", fence=1, outcome=claim_pb2.CLAIM_OUTCOME_SUCCEEDED),
        owner="FAILED_PRECONDITION",
    ),
    "ticket.v1.TicketService.ListAttempts": own(ticket.ListAttemptsRequest(id="tk_4")),
    "ticket.v1.TicketService.ListEvents": own(ticket.ListEventsRequest(id="tk_4")),
    "ticket.v1.TicketService.GetTicketDiff": own(diff_pb2.GetTicketDiffRequest(id="tk_5")),
    "ticket.v1.TicketService.WatchTicket": own(ticket.WatchTicketRequest(id="tk_1")),
    "ticket.v1.TicketService.WatchTickets": listed(ticket.WatchTicketsRequest(cursor=0)),
    "vm.v1.VmService.WatchVm": own(vm.WatchVmRequest(id="vm_1")),
    "vm.v1.VmService.ListVms": listed(vm.ListVmsRequest()),
    "vm.v1.VmService.GetVm": own(vm.GetVmRequest(id="vm_1")),
    "vm.v1.VmService.BootVms": home(vm.BootVmsRequest(count=1)),
    "vm.v1.VmService.PauseVm": own(vm.PauseVmRequest(id="vm_1")),
    "vm.v1.VmService.ResumeVm": own(vm.ResumeVmRequest(id="vm_1")),
    "vm.v1.VmService.DeleteVm": own(vm.DeleteVmRequest(id="vm_2")),
    "vm.v1.VmService.GetVmStats": own(vm.GetVmStatsRequest(id="vm_1")),
    "vm.v1.VmService.GetVmHealth": own(vm.GetVmHealthRequest(id="vm_2")),
    "vm.v1.VmService.ListUnhealthyVms": listed(vm.ListUnhealthyVmsRequest()),
    "vm.v1.VmService.CleanupVms": home(vm.CleanupVmsRequest()),
    "vm.v1.VmService.Console": own(vm.ConsoleRequest(vm_id="vm_1", data=b"x")),
}


def test_every_method_has_its_row() -> None:
    """A new method needs a line in the table above."""
    assert {f"swarm.{name}" for name in ROWS} == METHODS.keys()


def seeds() -> list[Ticket]:
    """Held, failed, asking, running, in review."""
    states = (S.PENDING, S.FAILED, S.WAITING, S.RUNNING, S.IN_REVIEW)
    leased = {"fence": 1, "host_id": "hs_1", "lease_expires_at": NOW + 45}
    return [
        a_ticket(
            number,
            state,
            tenant_id=RED,
            title=f"{MARK} {number}",
            agent="echo",
            project_id="pj_1",
            attempt_id=f"at_tk_{number}_1",
            **(leased if state in {S.WAITING, S.RUNNING} else {"fence": 1}),
        )
        for number, state in enumerate(states, 1)
    ]


def fill(tx: Tx) -> None:
    tickets = seeds()
    tx.add_agent(an_agent("echo", built_in=True), b"")
    tx.add_agent(an_agent(MARK, tenant_id=RED), b"")
    tx.save_host(a_host())
    for number in (1, 2):
        tx.add_project(replace(a_project(number, name=f"{MARK} {number}"), tenant_id=RED))
    tx.next_ticket_number(RED, len(tickets))
    tx.add_tickets(tickets)
    filed = [{"ticket_id": one.id, "tenant_id": one.tenant_id, "title": MARK} for one in tickets]
    tx.add_events([NewEvent("tickets", "ticket.created", data) for data in filed], NOW)
    ended = {"state": AttemptState.SUCCEEDED, "base": "b" * 40, "head": "c" * 40}
    tx.add_attempts([an_attempt(one, vm_id="vm_1", **(ended if one.state is S.IN_REVIEW else {})) for one in tickets])
    tx.add_pull_request(a_pull_request(tickets[4], 5, state=PullRequestState.OPEN, title=MARK))
    tx.save_workflow_runs([WorkflowRun("wr_1", RED, "tk_4", "at_tk_4_1", f"{MARK}@1.0.0", RunState.RUNNING, NOW, ())])
    tx.save_vms([a_vm(1, ticket_id="tk_4", image=MARK), a_vm(2, image=MARK, host_id="hs_1")])


class Dump:
    """Stands for the archivist: one piece."""

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        yield Piece(1.0, "done")


async def cleaned(_by: str) -> CleanupReport:
    return CleanupReport()


async def inspected(_heads: Sequence[AuditHead]) -> Inspection:
    return Inspection(SEALS)


def authenticate(metadata: Mapping[str, str]) -> Principal:
    if found := PRINCIPALS.get(metadata.get("authorization", "")):
        return found
    raise Unauthenticated("a credential is needed")


@asynccontextmanager
async def world() -> AsyncIterator[Dispatcher]:
    bus = LocalBus()
    store = SqliteStore(":memory:", bus, inline=True, clock=lambda: NOW)
    await store.open()
    hosts = FakeFleet(
        {"hs_1"}, {"vm": [CommandUpdate(1.0, "", done=True)], "boot_vms": [CommandUpdate(1.0, "", done=True)]}
    )
    services_ = Services(store, bus, hosts, FakeForge())
    await store.write(fill)
    workflow = registry.PublishWorkflowRequest(
        manifest=struct(name=MARK, version="1.0.0", steps=[{"name": "only", "agent": "echo"}])
    )
    runtime = Runtime(
        started_at=NOW,
        version="0",
        connected=hosts.connected,
        unplaceable=lambda tenant: {MARK: "waits"} if tenant == RED else {},
        alerts=list,
        cleanup=cleaned,
        inspect=inspected,
    )
    link: Any = None
    claims = Claims(store, bus, Scheduler(store, bus, hosts), NoWorkspaces())
    accounts = no_accounts(store)
    bindings = all_bindings(
        link, runtime, Dump(), External(claims, TIMES, str), accounts, people=no_people(), allow_file=False
    )
    dispatcher = Dispatcher(
        methods(services()),
        bindings,
        services_,
        authenticate=authenticate,
        rate_limit=RateLimit(dict.fromkeys(("global", "auth", "ai", "lease"), 1000), admin=1000),
    )
    try:
        publish = "swarm.registry.v1.RegistryService.PublishWorkflow"
        await dispatcher.unary(publish, workflow, {"authorization": "owner"}, "test")
        await mapped(dispatcher)
        yield dispatcher
    finally:
        await dispatcher.close()
        await store.close()


async def mapped(dispatcher: Dispatcher) -> None:
    rule = registry_pb2.MappingRule(tags=[MARK], agent=MARK)
    request = registry.SetMappingRequest(mapping=registry_pb2.Mapping(rules=[rule]))
    name = "swarm.registry.v1.RegistryService.SetMapping"
    await dispatcher.unary(name, request, {"authorization": "owner"}, "test")


async def ask(dispatcher: Dispatcher, method: Method, request: Message, who: str) -> tuple[str, str]:
    """Code, and the first answer as text."""
    metadata = {"authorization": who} if who in PRINCIPALS else {}
    try:
        if not method.streaming:
            return "OK", str(await dispatcher.unary(method.name, request, metadata, "test"))
        answers = dispatcher.stream(method.name, requests(request), metadata, "test")
        async with aclosing(answers):
            async for answer in answers:
                return "OK", str(answer)
    except SwarmError as error:
        return error.code, error.message
    return "OK", ""


async def requests(request: Message) -> AsyncGenerator[Message, None]:
    yield request


def expected(row: Row, method: Method, who: str) -> str:
    if who == "nobody":
        return "UNAUTHENTICATED"
    if who == "viewer":
        return row.owner if method.role is Role.VIEWER else "PERMISSION_DENIED"
    if row.kind is Kind.NAME:
        return "OK" if who == "other" else row.owner
    if who == "owner" or row.kind in {Kind.LIST, Kind.NEW, Kind.SHARED}:
        return row.owner
    return "NOT_FOUND" if row.kind is Kind.OWN else "PERMISSION_DENIED"


@pytest.mark.parametrize("name", ROWS)
async def test_each_gets_what_is_theirs(name: str) -> None:
    """In this order, so that what should not have happened would be seen by who comes later."""
    row, method = ROWS[name], METHODS[f"swarm.{name}"]
    got: dict[str, tuple[str, str]] = {}
    async with world() as dispatcher:
        for who in ("nobody", "viewer", "other", "owner"):
            got[who] = await ask(dispatcher, method, row.request, who)
    assert {who: code for who, (code, _) in got.items()} == {who: expected(row, method, who) for who in got}
    assert MARK not in got["other"][1].replace(name_in(row.request), "")
    assert MARK not in got["nobody"][1]


def name_in(request: Message) -> str:
    """What the caller said already is no news to them."""
    return MARK if MARK in str(request) else "\0"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, row in ROWS.items()
        if row.kind is Kind.LIST and not any(word in name for word in ("GetFailures", "GetSwarm", "Claim", "Unhealthy"))
    ],
)
async def test_a_list_holds_what_is_its_owners(name: str) -> None:
    """Else that it shows others nothing would prove nothing."""
    method = METHODS[f"swarm.{name}"]
    async with world() as dispatcher:
        assert MARK in (await ask(dispatcher, method, ROWS[name].request, "owner"))[1]


def test_what_all_share_is_changed_by_the_deployments_own_tenant_only() -> None:
    rows = {f"swarm.{name}" for name, row in ROWS.items() if row.kind is Kind.HOME}
    assert rows == {name for name, method in METHODS.items() if method.fleet}
