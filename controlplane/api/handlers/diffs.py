"""TicketService.GetTicketDiff."""

from __future__ import annotations

from controlplane.api.bindings import Action, Bindings
from controlplane.domain.call import Call
from controlplane.usecases.diffs import MAX_FILES, ticket_diff
from controlplane.usecases.services import Services
from swarm.ticket.v1 import diff_pb2 as pb

METHOD = "swarm.ticket.v1.TicketService.GetTicketDiff"


def bindings() -> Bindings:
    return {METHOD: Action(diff)}


async def diff(services: Services, call: Call, request: pb.GetTicketDiffRequest) -> pb.GetTicketDiffResponse:
    found = await ticket_diff(services, call, request.id)
    return pb.GetTicketDiffResponse(
        diff=found.patch,
        truncated=found.truncated,
        base=found.base,
        head=found.head,
        files=[
            pb.FileStat(
                path=file.path,
                old_path=file.old_path,
                additions=file.additions,
                deletions=file.deletions,
                binary=file.binary,
            )
            for file in found.files[:MAX_FILES]
        ],
        additions=sum(file.additions for file in found.files),
        deletions=sum(file.deletions for file in found.files),
        changed_files=len(found.files),
    )
