"""Registered agents."""

from __future__ import annotations

from controlplane.domain.agent import Agent
from controlplane.domain.call import Call
from controlplane.errors import NotFound
from controlplane.ports import Reader


def find(reader: Reader, name: str) -> Agent | None:
    """By `name`, which means the newest version, or `name@version`."""
    bare, _, version = name.partition("@")
    return reader.agent(bare, version)


def list_agents(reader: Reader, _call: Call) -> list[Agent]:
    """All versions, by name and then by time of publishing."""
    return reader.agents()


def get_agent(reader: Reader, _call: Call, name: str) -> Agent:
    if agent := find(reader, name):
        return agent
    raise NotFound(f"there is no agent {name}")
