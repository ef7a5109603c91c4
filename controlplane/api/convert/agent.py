"""Registered agents."""

from __future__ import annotations

from collections.abc import Collection

from controlplane.api.convert.common import json_out, timestamp
from controlplane.domain.agent import Agent
from swarm.registry.v1 import registry_pb2 as pb


def agent_out(agent: Agent, images: Collection[str]) -> pb.Agent:
    """`images` are those that some host has."""
    return pb.Agent(
        name=agent.name,
        version=agent.version,
        description=agent.description,
        input_schema=json_out(agent.input_schema),
        image=agent.image,
        digest=agent.digest,
        built_in=agent.built_in,
        published_at=timestamp(agent.published_at),
        image_present=agent.image in images,
        external=agent.external,
    )
