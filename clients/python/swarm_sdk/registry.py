"""The registry of agents and workflows, the runs of workflows, and the mapping of tickets to either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from swarm.registry.v1 import service_pb2 as pb
from swarm.registry.v1.registry_pb2 import Agent, MappingRule, Workflow, WorkflowRun
from swarm.registry.v1.registry_pb2 import Mapping as RuleMapping
from swarm.registry.v1.service_pb2_grpc import RegistryServiceStub
from swarm_sdk.paging import Paged
from swarm_sdk.structs import struct_of
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

    async def workflows(self) -> Sequence[Workflow]:
        return (await self._transport.read(self._stub.ListWorkflows, pb.ListWorkflowsRequest())).workflows

    async def workflow(self, name: str) -> Workflow:
        """The newest version of a workflow, or the one that `name@version` names."""
        return (await self._transport.read(self._stub.GetWorkflow, pb.GetWorkflowRequest(name=name))).workflow

    async def publish_workflow(self, manifest: Mapping[str, Any], *, key: str = "") -> Workflow:
        """Registers a workflow from the content of its `workflow.json`."""
        request = pb.PublishWorkflowRequest(manifest=struct_of(manifest, "the manifest"))
        return (await self._transport.change(self._stub.PublishWorkflow, request, key=key)).workflow

    def runs(self, ticket: str = "", *, limit: int = 0) -> Paged[WorkflowRun]:
        """Runs of one ticket (id or key), or all, oldest first; `limit` 0 means all."""

        async def page(token: str, size: int) -> tuple[Sequence[WorkflowRun], str]:
            request = pb.ListWorkflowRunsRequest(page_size=size, page_token=token, ticket_id=ticket)
            answer = await self._transport.read(self._stub.ListWorkflowRuns, request)
            return answer.runs, answer.next_page_token

        return Paged(page, limit)

    async def run(self, ident: str) -> WorkflowRun:
        return (await self._transport.read(self._stub.GetWorkflowRun, pb.GetWorkflowRunRequest(id=ident))).run

    async def mapping(self) -> Sequence[MappingRule]:
        """What runs a ticket that names neither agent nor workflow: the first rule that fits."""
        return (await self._transport.read(self._stub.GetMapping, pb.GetMappingRequest())).mapping.rules

    async def set_mapping(self, rules: Iterable[MappingRule], *, key: str = "") -> Sequence[MappingRule]:
        """Replaces all rules."""
        request = pb.SetMappingRequest(mapping=RuleMapping(rules=rules))
        return (await self._transport.change(self._stub.SetMapping, request, key=key)).mapping.rules
