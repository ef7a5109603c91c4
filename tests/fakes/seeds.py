"""Domain data for tests, as short to write as the test needs."""

from __future__ import annotations

from typing import Any

from controlplane.domain.agent import Agent
from controlplane.domain.call import Call, Principal, Role
from controlplane.domain.host import Capacity, Host, HostState
from controlplane.domain.project import Project, ProjectSpec
from controlplane.domain.pullrequest import PullRequest, PullRequestState
from controlplane.domain.ticket import Attempt, AttemptState, Isolation, Ticket, TicketSpec, TicketState
from controlplane.domain.vm import Vm, VmState

NOW = 1_800_000_000.0
TENANT = "default"


def a_call(now: float = NOW, *, tenant: str = TENANT, role: Role = Role.ADMIN) -> Call:
    return Call("rq_1", Principal("alice", role, tenant), now)


def a_ticket(number: int, state: TicketState = TicketState.READY, **fields: Any) -> Ticket:
    """`tk_7`, key TKT-007; fields of its spec are recognised by name."""
    spec_fields = {name: fields.pop(name) for name in list(fields) if name in TicketSpec.__dataclass_fields__}
    spec = TicketSpec(**{"title": f"Ticket {number}", **spec_fields})
    plain = {"tenant_id": TENANT, "created_at": NOW, "updated_at": NOW, **fields}
    return Ticket(id=f"tk_{number}", key=f"TKT-{number:03d}", spec=spec, state=state, **plain)


def an_attempt(ticket: Ticket, **fields: Any) -> Attempt:
    plain = {"number": 1, "fence": ticket.fence, "host_id": "hs_1", "state": AttemptState.ASSIGNED, "assigned_at": NOW}
    return Attempt(**{"id": f"at_{ticket.id}_{ticket.fence}", "ticket_id": ticket.id, **plain, **fields})


def a_project(number: int = 1, **spec: Any) -> Project:
    typed = ProjectSpec(**{"name": f"Project {number}", "repository": f"/srv/git/{number}.git", **spec})
    return Project(f"pj_{number}", TENANT, typed, NOW)


def a_pull_request(ticket: Ticket, number: int, **fields: Any) -> PullRequest:
    plain = {
        "id": f"pr_{number}",
        "project_id": "pj_1",
        "title": ticket.spec.title,
        "body": "",
        "state": PullRequestState.OPEN,
        "base_branch": "main",
        "head_branch": f"swarm/{ticket.key}/pr",
        "base": "b" * 40,
        "head": f"{number}" * 40,
        "created_at": NOW,
    }
    return PullRequest(**{"number": number, "ticket_id": ticket.id, "ticket_key": ticket.key, **plain, **fields})


def a_host(number: int = 1, **fields: Any) -> Host:
    plain = {"state": HostState.ONLINE, "isolation": Isolation.TCG, "capacity": Capacity(8, 16, 16384, 65536)}
    return Host(**{"id": f"hs_{number}", "name": f"host-{number}", **plain, **fields})


def a_vm(number: int = 1, **fields: Any) -> Vm:
    plain = {
        "host_id": "hs_1",
        "state": VmState.RUNNING,
        "driver": "qemu",
        "isolation": Isolation.TCG,
        "image": "default",
        "template": "t" * 64,
        "vcpus": 1,
        "memory_mib": 256,
        "disk_mib": 4096,
        "created_at": NOW,
    }
    return Vm(**{"id": f"vm_{number}", **plain, **fields})


def an_agent(name: str = "echo", version: str = "1.0.0", **fields: Any) -> Agent:
    plain = {
        "description": "",
        "image": "default",
        "command": ("./run",),
        "input_schema": {"type": "object"},
        "digest": "d" * 64,
        "built_in": True,
        "published_at": NOW,
    }
    return Agent(**{"name": name, "version": version, **plain, **fields})
