"""Registered agents."""

from __future__ import annotations

from controlplane.domain.agent import Agent
from controlplane.domain.call import Call
from controlplane.errors import NotFound
from controlplane.ports import Reader


def find(reader: Reader, tenant_id: str, name: str) -> Agent | None:
    """By `name`, which means the newest version, or `name@version`; the tenant's own, or one for everybody."""
    bare, _, version = name.partition("@")
    return reader.agent(tenant_id, bare, version)


def list_agents(reader: Reader, call: Call) -> list[Agent]:
    """All versions, by name and then by time of publishing."""
    return reader.agents(call.principal.tenant_id)


def get_agent(reader: Reader, call: Call, name: str) -> Agent:
    if agent := find(reader, call.principal.tenant_id, name):
        return agent
    raise NotFound(f"there is no agent {name}")
