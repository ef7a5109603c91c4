"""What the matrices ask: a control plane in memory with things of two tenants, and who asks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from argon2 import PasswordHasher
from google.protobuf.message import Message

from controlplane.accounts.codes import TotpCodes
from controlplane.accounts.passwords import Argon2Passwords
from controlplane.accounts.pictures import PillowPictures
from controlplane.accounts.seal import FileSeal
from controlplane.api.handlers import External, People, Runtime, all_bindings
from controlplane.api.methods import Method, methods, services
from controlplane.api.pipeline import Dispatcher
from controlplane.api.stages.ratelimit import RateLimit
from controlplane.domain.apikey import ApiKey
from controlplane.domain.audit import AuditHead, Inspection
from controlplane.domain.avatar import Avatar
from controlplane.domain.backup import Piece
from controlplane.domain.call import HOME, Principal, Role
from controlplane.domain.cleanup import CleanupReport
from controlplane.domain.event import NewEvent
from controlplane.domain.lease import TIMES
from controlplane.domain.login import Login
from controlplane.domain.notification import Kind as About
from controlplane.domain.notification import Notice, Notification
from controlplane.domain.pullrequest import PullRequestState
from controlplane.domain.run import RunState, WorkflowRun
from controlplane.domain.tenant import Tenant
from controlplane.domain.ticket import AttemptState, Ticket, TicketState
from controlplane.domain.user import User
from controlplane.errors import Unauthenticated
from controlplane.events.bus import LocalBus
from controlplane.ports import CommandUpdate, Tx
from controlplane.scheduler.loop import Scheduler
from controlplane.stores.sqlite import SqliteStore
from controlplane.usecases.accounts.parts import Accounts
from controlplane.usecases.claiming import Claims
from controlplane.usecases.services import Services
from swarm.registry.v1 import registry_pb2
from swarm.registry.v1 import service_pb2 as registry
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
from tests.integration.controlplane.rows import MARK, Kind, Row, struct
from tests.sim.database import SEALS
from tests.sim.forge import NoWorkspaces

METHODS = {name: method for name, method in methods(services()).items() if "hostlink" not in name}
RED, BLUE = HOME, "blue"
S = TicketState

PRINCIPALS: Mapping[str, Principal] = {
    who: Principal(f"user:us_{name}", role, tenant, user_id=f"us_{name}", login_id=f"lg_{name}")
    for who, name, role, tenant in (
        ("owner", "ruth", Role.ADMIN, RED),
        ("other", "bob", Role.ADMIN, BLUE),
        ("viewer", "rita", Role.VIEWER, RED),
    )
}


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
    tx.add_audit("ticket.create", "user:us_ruth", "rq_1", {"title": MARK}, NOW, tenant_id=RED)
    fill_accounts(tx)
    tx.save_vms([a_vm(1, ticket_id="tk_4", image=MARK), a_vm(2, image=MARK, host_id="hs_1")])


def fill_accounts(tx: Tx) -> None:
    tx.save_tenant(Tenant(RED, MARK, NOW))
    tx.add_tenant(Tenant(BLUE, "Blue", NOW))
    for who in PRINCIPALS.values():
        name = who.user_id.removeprefix("us_")
        shown = f"{MARK} {name}" if who.tenant_id == RED else name
        tx.add_user(User(who.user_id, who.tenant_id, f"{name}@example.org", shown, who.role, NOW))
        tx.add_login(
            Login(who.login_id, who.user_id, who.tenant_id, "password", "", "", NOW, NOW, expires_at=NOW + 1000)
        )
        tx.save_avatar(who.user_id, Avatar(b"image", "image/webp", NOW))
    tx.add_notifications([Notification("nt_ruth", "us_ruth", Notice(About.QUESTION_ASKED, "ticket:tk_1", MARK), NOW)])
    scopes = frozenset({"read"})
    tx.add_api_key(ApiKey("ak_ruth", "us_ruth", RED, f"{MARK} key", "d" * 64, "dddd", scopes, NOW))


def accounts_of(store: SqliteStore) -> Accounts:
    """Real parts, but for tokens, which nobody gets here. Hashes are cheap."""
    passwords = Argon2Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    return replace(no_accounts(store), passwords=passwords, codes=TotpCodes(), seal=FileSeal(b"key"))


def people() -> People:
    return replace(no_people(), pictures=PillowPictures())


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
    outside = External(claims, TIMES, str)
    bindings = all_bindings(link, runtime, Dump(), outside, accounts_of(store), people=people(), allow_file=False)
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


def expected(row: Row, method: Method, who: str) -> str:
    if row.kind is Kind.OPEN:
        return row.owner
    if who == "nobody":
        return "UNAUTHENTICATED"
    if who == "viewer" and method.role is not Role.VIEWER:
        return "PERMISSION_DENIED"
    return answers_by_kind(row)[who]


def answers_by_kind(row: Row) -> Mapping[str, str]:
    """Of those who may call it at all."""
    other, viewer = row.owner, row.owner
    if row.kind in {Kind.OWN, Kind.PERSONAL}:
        other = "NOT_FOUND"
    if row.kind is Kind.PERSONAL:
        viewer = "NOT_FOUND"
    if row.kind is Kind.HOME:
        other = "PERMISSION_DENIED"
    if row.kind is Kind.NAME:
        other = "OK"
    return {"owner": row.owner, "other": other, "viewer": viewer}


def name_in(request: Message) -> str:
    """What the caller said already is no news to them."""
    return MARK if MARK in str(request) else "\0"
