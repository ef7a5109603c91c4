"""What agents need beside their VM."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.domain.agent import Agent
from controlplane.ports import Reader
from controlplane.usecases import agents, workflows


def upstreams_of(reader: Reader, tenant_id: str, runner: str) -> frozenset[str]:
    """Upstreams without which it cannot work: of `agent NAME`, or of all agents of `workflow NAME`."""
    kind, _, name = runner.partition(" ")
    if kind == "workflow":
        workflow = workflows.find(reader, tenant_id, name)
        return needed(workflows.agents_of(reader, workflow).values()) if workflow else frozenset()
    agent = agents.find(reader, tenant_id, name)
    return needed((agent,)) if agent and not agent.external else frozenset()


def needed(known: Iterable[Agent]) -> frozenset[str]:
    return frozenset(upstream for agent in known for upstream in agent.upstreams)
