"""The registry of agents."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.registry.v1 import service_pb2 as pb
from swarm.registry.v1.registry_pb2 import Agent
from swarm.registry.v1.service_pb2_grpc import RegistryServiceStub
from swarm_sdk.transport import Transport


class Registry:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = RegistryServiceStub(transport.channel)

    async def list(self) -> Sequence[Agent]:
        return (await self._transport.read(self._stub.ListAgents, pb.ListAgentsRequest())).agents

    async def get(self, name: str) -> Agent:
        """The newest version of an agent, or the one that `name@version` names."""
        return (await self._transport.read(self._stub.GetAgent, pb.GetAgentRequest(name=name))).agent

    async def publish(self, bundle: bytes, *, key: str = "") -> Agent:
        """Registers an agent from a tar of its folder, with `agent.json` at the top; at most 3 MiB."""
        request = pb.PublishAgentRequest(bundle=bundle)
        return (await self._transport.change(self._stub.PublishAgent, request, key=key)).agent
