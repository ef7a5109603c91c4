"""What a guest is told: the Work document of one attempt, without what the broker adds to each answer."""

from __future__ import annotations

import json
import re
from typing import Any

from hostd.messages import AgentBundle, Assignment, Step
from hostd.ports import Checkout

AUTHOR_EMAIL = "agent@swarm.invalid"
REPOSITORY_PATH = "/git/repo.git"


def hostname(ticket_key: str, fence: int) -> str:
    """A valid host name that tells attempts apart, such as ``tkt-001-a2``."""
    name = re.sub(r"[^a-z0-9]+", "-", ticket_key.lower()).strip("-")[:40]
    return f"{name or 'vm'}-a{fence}"


def work(assignment: Assignment, checkout: Checkout | None, broker_url: str, machine_id: str) -> dict[str, Any]:
    """Fields of swarm.guest.v1.Work in their JSON form."""
    fence = assignment.attempt.fence
    return {
        "machine_id": machine_id,
        "hostname": hostname(assignment.ticket_key, fence),
        "ticket_key": assignment.ticket_key,
        "title": assignment.title,
        "description": assignment.description,
        "acceptance_criteria": list(assignment.acceptance_criteria),
        "fence": str(fence),
        "checkout": _checkout(assignment, checkout, broker_url) if checkout else {},
        "agent": _agent(assignment.agent),
        "input": json.loads(assignment.input or "{}"),
        "test_command": assignment.test_command,
        "timeout_s": assignment.timeout_s,
        "workflow": assignment.workflow,
        "traceparent": assignment.traceparent,
        "steps": [_step(step) for step in assignment.steps],
    }


def _agent(agent: AgentBundle) -> dict[str, Any]:
    return {
        "name": agent.name,
        "version": agent.version,
        "digest": agent.digest,
        "command": list(agent.command),
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "description": step.description,
        "agent": _agent(step.agent),
        "needs": list(step.needs),
        "input": json.loads(step.input or "{}"),
    }


def _checkout(assignment: Assignment, checkout: Checkout, broker_url: str) -> dict[str, Any]:
    return {
        "url": broker_url + REPOSITORY_PATH,
        "base": checkout.base,
        "push_ref": assignment.repository.push_ref,
        "author_name": assignment.agent.name or assignment.workflow.partition("@")[0] or "swarm",
        "author_email": AUTHOR_EMAIL,
        "conflicts": list(checkout.conflicts),
        "merge_heads": list(checkout.merge_heads),
    }
