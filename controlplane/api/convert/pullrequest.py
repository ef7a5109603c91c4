"""Pull requests."""

from __future__ import annotations

from controlplane.api.convert.common import enum_out, timestamp
from controlplane.domain.pullrequest import PullRequest, PullRequestState
from swarm.pullrequest.v1 import pullrequest_pb2 as pb


def state_in(number: pb.PullRequestState.ValueType) -> PullRequestState | None:
    """Unspecified means any."""
    return PullRequestState[pb.PullRequestState.Name(number).removeprefix("PULL_REQUEST_STATE_")] if number else None


def pull_request_out(pull_request: PullRequest) -> pb.PullRequest:
    return pb.PullRequest(
        id=pull_request.id,
        number=pull_request.number,
        project_id=pull_request.project_id,
        ticket_id=pull_request.ticket_id,
        ticket_key=pull_request.ticket_key,
        title=pull_request.title,
        body=pull_request.body,
        state=enum_out(pb.PullRequestState, "PULL_REQUEST_STATE", pull_request.state),
        base_branch=pull_request.base_branch,
        head_branch=pull_request.head_branch,
        base=pull_request.base,
        head=pull_request.head,
        merge_commit=pull_request.merge_commit,
        additions=pull_request.additions,
        deletions=pull_request.deletions,
        changed_files=pull_request.changed_files,
        url=pull_request.url,
        created_at=timestamp(pull_request.created_at),
        merged_at=timestamp(pull_request.merged_at),
    )
