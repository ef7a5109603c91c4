"""RegistryService."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.api.bindings import Bindings, Command, Query
from controlplane.api.convert.agent import agent_out
from controlplane.api.convert.common import json_in, page_in
from controlplane.api.convert.workflow import rule_in, rule_out, run_out, workflow_out
from controlplane.domain.call import Call
from controlplane.domain.mapping import Rule
from controlplane.domain.workflow import Workflow
from controlplane.ports import Reader, Tx
from controlplane.usecases import agents, mapping, publishing, runs, workflows
from controlplane.usecases.images import present_images
from swarm.registry.v1 import registry_pb2
from swarm.registry.v1 import service_pb2 as pb

SERVICE = "swarm.registry.v1.RegistryService"


def bindings() -> Bindings:
    return {
        f"{SERVICE}.ListAgents": Query(list_agents),
        f"{SERVICE}.GetAgent": Query(get),
        f"{SERVICE}.PublishAgent": Command(publish),
        f"{SERVICE}.ListWorkflows": Query(list_workflows),
        f"{SERVICE}.GetWorkflow": Query(get_workflow),
        f"{SERVICE}.PublishWorkflow": Command(publish_workflow),
        f"{SERVICE}.ListWorkflowRuns": Query(list_runs),
        f"{SERVICE}.GetWorkflowRun": Query(get_run),
        f"{SERVICE}.GetMapping": Query(get_mapping),
        f"{SERVICE}.SetMapping": Command(set_mapping),
    }


def list_agents(reader: Reader, call: Call, _request: pb.ListAgentsRequest) -> pb.ListAgentsResponse:
    images = present_images(reader)
    return pb.ListAgentsResponse(agents=[agent_out(agent, images) for agent in agents.list_agents(reader, call)])


def get(reader: Reader, call: Call, request: pb.GetAgentRequest) -> pb.GetAgentResponse:
    agent = agents.get_agent(reader, call, request.name)
    return pb.GetAgentResponse(agent=agent_out(agent, present_images(reader)))


def publish(tx: Tx, call: Call, request: pb.PublishAgentRequest) -> pb.PublishAgentResponse:
    agent = publishing.publish_agent(tx, call, request.bundle)
    return pb.PublishAgentResponse(agent=agent_out(agent, present_images(tx)))


def list_workflows(reader: Reader, call: Call, _request: pb.ListWorkflowsRequest) -> pb.ListWorkflowsResponse:
    return pb.ListWorkflowsResponse(workflows=messages(reader, workflows.list_workflows(reader, call)))


def get_workflow(reader: Reader, call: Call, request: pb.GetWorkflowRequest) -> pb.GetWorkflowResponse:
    return pb.GetWorkflowResponse(workflow=messages(reader, [workflows.get_workflow(reader, call, request.name)])[0])


def publish_workflow(tx: Tx, call: Call, request: pb.PublishWorkflowRequest) -> pb.PublishWorkflowResponse:
    workflow = workflows.publish_workflow(tx, call, json_in(request.manifest, "/manifest"))
    return pb.PublishWorkflowResponse(workflow=messages(tx, [workflow])[0])


def messages(reader: Reader, found: Sequence[Workflow]) -> list[registry_pb2.Workflow]:
    images = present_images(reader)
    return [workflow_out(each, workflows.image_of(each, workflows.agents_of(reader, each)), images) for each in found]


def list_runs(reader: Reader, call: Call, request: pb.ListWorkflowRunsRequest) -> pb.ListWorkflowRunsResponse:
    found, token = runs.list_runs(reader, call, request.ticket_id, page_in(request))
    return pb.ListWorkflowRunsResponse(runs=map(run_out, found), next_page_token=token)


def get_run(reader: Reader, call: Call, request: pb.GetWorkflowRunRequest) -> pb.GetWorkflowRunResponse:
    return pb.GetWorkflowRunResponse(run=run_out(runs.get_run(reader, call, request.id)))


def get_mapping(reader: Reader, call: Call, _request: pb.GetMappingRequest) -> pb.GetMappingResponse:
    return pb.GetMappingResponse(mapping=mapping_message(mapping.get_mapping(reader, call)))


def set_mapping(tx: Tx, call: Call, request: pb.SetMappingRequest) -> pb.SetMappingResponse:
    rules = mapping.set_mapping(tx, call, [rule_in(rule) for rule in request.mapping.rules])
    return pb.SetMappingResponse(mapping=mapping_message(rules))


def mapping_message(rules: Sequence[Rule]) -> registry_pb2.Mapping:
    return registry_pb2.Mapping(rules=map(rule_out, rules))
