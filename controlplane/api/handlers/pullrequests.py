"""PullRequestService."""

from __future__ import annotations

from controlplane.api.bindings import Action, Bindings, Command, Query
from controlplane.api.convert.common import page_in
from controlplane.api.convert.pullrequest import pull_request_out, state_in
from controlplane.domain.call import Call
from controlplane.ports import Reader, Tx
from controlplane.usecases import pullrequests
from controlplane.usecases.services import Services
from swarm.pullrequest.v1 import service_pb2 as pb

SERVICE = "swarm.pullrequest.v1.PullRequestService"


def bindings() -> Bindings:
    return {
        f"{SERVICE}.ListPullRequests": Query(list_pull_requests),
        f"{SERVICE}.GetPullRequest": Query(get),
        f"{SERVICE}.GetPullRequestDiff": Action(diff),
        f"{SERVICE}.MergePullRequest": Action(merge),
        f"{SERVICE}.ClosePullRequest": Command(close),
    }


def list_pull_requests(reader: Reader, call: Call, request: pb.ListPullRequestsRequest) -> pb.ListPullRequestsResponse:
    found, token = pullrequests.list_pull_requests(
        reader, call, request.project_id, state_in(request.state), page_in(request)
    )
    return pb.ListPullRequestsResponse(pull_requests=[pull_request_out(each) for each in found], next_page_token=token)


def get(reader: Reader, call: Call, request: pb.GetPullRequestRequest) -> pb.GetPullRequestResponse:
    found = pullrequests.get_pull_request(reader, call, request.id)
    return pb.GetPullRequestResponse(pull_request=pull_request_out(found))


async def diff(services: Services, call: Call, request: pb.GetPullRequestDiffRequest) -> pb.GetPullRequestDiffResponse:
    data, truncated = await pullrequests.diff(services, call, request.id)
    return pb.GetPullRequestDiffResponse(diff=data, truncated=truncated)


async def merge(services: Services, call: Call, request: pb.MergePullRequestRequest) -> pb.MergePullRequestResponse:
    merged = await pullrequests.merge(services, call, request.id)
    return pb.MergePullRequestResponse(pull_request=pull_request_out(merged))


def close(tx: Tx, call: Call, request: pb.ClosePullRequestRequest) -> pb.ClosePullRequestResponse:
    closed = pullrequests.close(tx, call, request.id)
    return pb.ClosePullRequestResponse(pull_request=pull_request_out(closed))
