"""AgentService."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from controlplane.api.bindings import Action, Bindings, Query, Stream
from controlplane.api.convert.common import page_in
from controlplane.api.convert.live import line_out, live_out
from controlplane.domain.call import Call
from controlplane.ports import Reader
from controlplane.usecases import live
from controlplane.usecases.services import Services
from swarm.agent.v1 import service_pb2 as pb

SERVICE = "swarm.agent.v1.AgentService"


def bindings() -> Bindings:
    return {
        f"{SERVICE}.ListLiveAgents": Query(list_live),
        f"{SERVICE}.GetLiveAgent": Query(get),
        f"{SERVICE}.ListAgentLogs": Query(logs),
        f"{SERVICE}.PauseAgent": Action(pause),
        f"{SERVICE}.ResumeAgent": Action(resume),
        f"{SERVICE}.TerminateAgent": Action(terminate),
        f"{SERVICE}.WatchLiveAgents": Stream(watch),
    }


def list_live(reader: Reader, call: Call, request: pb.ListLiveAgentsRequest) -> pb.ListLiveAgentsResponse:
    found, token = live.list_live(reader, call, request.project_id, page_in(request))
    return pb.ListLiveAgentsResponse(agents=map(live_out, found), next_page_token=token)


def get(reader: Reader, call: Call, request: pb.GetLiveAgentRequest) -> pb.GetLiveAgentResponse:
    return pb.GetLiveAgentResponse(agent=live_out(live.get_live(reader, call, request.id)))


def logs(reader: Reader, call: Call, request: pb.ListAgentLogsRequest) -> pb.ListAgentLogsResponse:
    return pb.ListAgentLogsResponse(lines=map(line_out, live.logs(reader, call, request.id, request.tail)))


async def pause(services: Services, call: Call, request: pb.PauseAgentRequest) -> pb.PauseAgentResponse:
    return pb.PauseAgentResponse(agent=live_out(await live.pause(services, call, request.id)))


async def resume(services: Services, call: Call, request: pb.ResumeAgentRequest) -> pb.ResumeAgentResponse:
    return pb.ResumeAgentResponse(agent=live_out(await live.resume(services, call, request.id)))


async def terminate(services: Services, call: Call, request: pb.TerminateAgentRequest) -> pb.TerminateAgentResponse:
    await live.terminate(services, call, request.id)
    return pb.TerminateAgentResponse()


async def watch(
    services: Services, call: Call, request: pb.WatchLiveAgentsRequest
) -> AsyncGenerator[pb.WatchLiveAgentsResponse, None]:
    async for agents, ended in live.watch(services, call, request.project_id):
        yield pb.WatchLiveAgentsResponse(agents=map(live_out, agents), ended=ended)
