"""What runs now: one live agent per attempt."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from swarm.agent.v1 import service_pb2 as pb
from swarm.agent.v1.agent_pb2 import LiveAgent, LogLine
from swarm.agent.v1.service_pb2_grpc import AgentServiceStub
from swarm_sdk.paging import Paged
from swarm_sdk.transport import Transport


class Agents:
    """Everywhere `ident` is the id of an attempt (`at_...`), or an id or key of its ticket."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = AgentServiceStub(transport.channel)

    def list(self, *, project_id: str = "", limit: int = 0) -> Paged[LiveAgent]:
        """In the order of the tickets' keys; `limit` 0 means all."""

        async def page(token: str, size: int) -> tuple[Sequence[LiveAgent], str]:
            request = pb.ListLiveAgentsRequest(page_size=size, page_token=token, project_id=project_id)
            answer = await self._transport.read(self._stub.ListLiveAgents, request)
            return answer.agents, answer.next_page_token

        return Paged(page, limit)

    async def get(self, ident: str) -> LiveAgent:
        """`NotFoundError` once it has ended."""
        return (await self._transport.read(self._stub.GetLiveAgent, pb.GetLiveAgentRequest(id=ident))).agent

    async def logs(self, ident: str, *, tail: int = 20) -> Sequence[LogLine]:
        """Its last lines, oldest first; also of an attempt that is over."""
        request = pb.ListAgentLogsRequest(id=ident, tail=tail)
        return (await self._transport.read(self._stub.ListAgentLogs, request)).lines

    async def pause(self, ident: str, *, key: str = "") -> LiveAgent:
        """Pauses its VM; the lease goes on, and so does the clock of its timeout."""
        return (await self._transport.change(self._stub.PauseAgent, pb.PauseAgentRequest(id=ident), key=key)).agent

    async def resume(self, ident: str, *, key: str = "") -> LiveAgent:
        return (await self._transport.change(self._stub.ResumeAgent, pb.ResumeAgentRequest(id=ident), key=key)).agent

    async def terminate(self, ident: str, *, key: str = "") -> None:
        """Destroys its VM; the ticket is placed again."""
        await self._transport.change(self._stub.TerminateAgent, pb.TerminateAgentRequest(id=ident), key=key)

    def watch(self, *, project_id: str = "") -> AsyncGenerator[pb.WatchLiveAgentsResponse, None]:
        """All that run, then those that changed and the ids of those that ended. Endless: break, or cancel.

        After a restart of the control plane it begins anew with all that run.
        """
        return self._transport.resume(
            self._stub.WatchLiveAgents, lambda: pb.WatchLiveAgentsRequest(project_id=project_id)
        )
