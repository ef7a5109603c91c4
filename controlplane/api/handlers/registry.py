"""RegistryService."""

from __future__ import annotations

from controlplane.api.bindings import Bindings, Command, Query
from controlplane.api.convert.agent import agent_out
from controlplane.domain.call import Call
from controlplane.ports import Reader, Tx
from controlplane.usecases import agents, publishing
from swarm.registry.v1 import service_pb2 as pb

SERVICE = "swarm.registry.v1.RegistryService"


def bindings() -> Bindings:
    return {
        f"{SERVICE}.ListAgents": Query(list_agents),
        f"{SERVICE}.GetAgent": Query(get),
        f"{SERVICE}.PublishAgent": Command(publish),
    }


def list_agents(reader: Reader, call: Call, _request: pb.ListAgentsRequest) -> pb.ListAgentsResponse:
    return pb.ListAgentsResponse(agents=[agent_out(agent) for agent in agents.list_agents(reader, call)])


def get(reader: Reader, call: Call, request: pb.GetAgentRequest) -> pb.GetAgentResponse:
    return pb.GetAgentResponse(agent=agent_out(agents.get_agent(reader, call, request.name)))


def publish(tx: Tx, call: Call, request: pb.PublishAgentRequest) -> pb.PublishAgentResponse:
    return pb.PublishAgentResponse(agent=agent_out(publishing.publish_agent(tx, call, request.bundle)))
