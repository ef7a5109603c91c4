"""Pull requests: what the agents leave to review."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.pullrequest.v1 import service_pb2 as pb
from swarm.pullrequest.v1.pullrequest_pb2 import PullRequest, PullRequestState
from swarm.pullrequest.v1.service_pb2_grpc import PullRequestServiceStub
from swarm_sdk.paging import Paged
from swarm_sdk.transport import Transport


class PullRequests:
    """Everywhere `ident` is an id (`pr_...`) or the key of the ticket that it belongs to."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = PullRequestServiceStub(transport.channel)

    def list(
        self,
        *,
        project_id: str = "",
        state: PullRequestState.ValueType = PullRequestState.PULL_REQUEST_STATE_UNSPECIFIED,
        limit: int = 0,
    ) -> Paged[PullRequest]:
        """Pull requests of a project, or of all; unspecified `state` means every state."""

        async def page(token: str, size: int) -> tuple[Sequence[PullRequest], str]:
            request = pb.ListPullRequestsRequest(page_size=size, page_token=token, project_id=project_id, state=state)
            answer = await self._transport.read(self._stub.ListPullRequests, request)
            return answer.pull_requests, answer.next_page_token

        return Paged(page, limit)

    async def get(self, ident: str) -> PullRequest:
        request = pb.GetPullRequestRequest(id=ident)
        return (await self._transport.read(self._stub.GetPullRequest, request)).pull_request

    async def diff(self, ident: str) -> tuple[bytes, bool]:
        """Unified diff, and whether it was cut (at 1 MiB)."""
        answer = await self._transport.read(self._stub.GetPullRequestDiff, pb.GetPullRequestDiffRequest(id=ident))
        return answer.diff, answer.truncated

    async def merge(self, ident: str, *, key: str = "") -> PullRequest:
        """Merges it upstream; `FailedPreconditionError` names the paths that conflict."""
        request = pb.MergePullRequestRequest(id=ident)
        return (await self._transport.change(self._stub.MergePullRequest, request, key=key)).pull_request

    async def close(self, ident: str, *, key: str = "") -> PullRequest:
        """Closes it unmerged; its ticket fails and dependents are blocked."""
        request = pb.ClosePullRequestRequest(id=ident)
        return (await self._transport.change(self._stub.ClosePullRequest, request, key=key)).pull_request
