"""The audit log: who did what, and whether the log is what was written."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from swarm.audit.v1 import service_pb2 as pb
from swarm.audit.v1.audit_pb2 import AuditHead, AuditLog, AuditVerdict
from swarm.audit.v1.service_pb2_grpc import AuditServiceStub
from swarm_sdk.errors import InvalidArgumentError
from swarm_sdk.paging import Paged
from swarm_sdk.transport import Transport

VERIFY_TIMEOUT_S = 600.0


class Audit:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = AuditServiceStub(transport.channel)

    def list(self, where: pb.AuditLogFilter | None = None, *, limit: int = 0) -> Paged[AuditLog]:
        """Rows that fit `filtered(...)`, newest first; all of them when `limit` is 0."""

        async def page(token: str, size: int) -> tuple[Sequence[AuditLog], str]:
            request = pb.ListAuditLogsRequest(page_size=size, page_token=token, filter=where)
            answer = await self._transport.read(self._stub.ListAuditLogs, request)
            return answer.audit_logs, answer.next_page_token

        return Paged(page, limit)

    async def export(self, where: pb.AuditLogFilter | None = None) -> AsyncGenerator[AuditLog, None]:
        """The same as a stream, which leaves a row of its own."""
        async for answer in self._transport.stream(self._stub.ExportAuditLogs, pb.ExportAuditLogsRequest(filter=where)):
            yield answer.audit_log

    async def verify(self, heads: Iterable[AuditHead] = (), *, key: str = "") -> AuditVerdict:
        """Whether every row is as it was written, and none is missing up to these heads; see `heads_in`."""
        request = pb.VerifyAuditLogsRequest(heads=heads)
        call = self._transport.change(self._stub.VerifyAuditLogs, request, key=key, timeout_s=VERIFY_TIMEOUT_S)
        return (await call).verdict


def filtered(
    *,
    actor: str = "",
    action: str = "",
    request: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> pb.AuditLogFilter:
    """`action` may end in `*`; what is not named fits always."""
    where = pb.AuditLogFilter(actor=actor, action=action, request_id=request)
    for moment, field in ((since, where.since), (until, where.until)):
        if moment is not None:
            field.CopyFrom(stamp(moment))
    return where


def stamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def heads_in(text: str) -> list[AuditHead]:
    """The heads of a file that a control plane wrote; lines that are cut off are left out."""
    found = [head for line in text.splitlines() if (head := _head(line))]
    if text.strip() and not found:
        raise InvalidArgumentError("this file has no heads of an audit log", reason="bad_head")
    return found


def _head(line: str) -> AuditHead | None:
    try:
        data = json.loads(line)
        return AuditHead(seq=data["seq"], mac=data["mac"])
    except (ValueError, TypeError, KeyError):
        return None
