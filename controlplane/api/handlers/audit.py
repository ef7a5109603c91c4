"""AuditService."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

from controlplane.api.bindings import Action, Bindings, Query, Stream
from controlplane.api.convert.audit import filter_in, heads_in, row_out, verdict_out
from controlplane.api.convert.common import page_in
from controlplane.domain.audit import AuditFilter, AuditHead, AuditRow, Inspection
from controlplane.domain.call import Call
from controlplane.ports import Page, Reader
from controlplane.usecases.services import Services
from swarm.audit.v1 import service_pb2 as pb

SERVICE = "swarm.audit.v1.AuditService"
PAGE = 500

Inspect: TypeAlias = Callable[[Sequence[AuditHead]], Awaitable[Inspection]]


def bindings(inspect: Inspect) -> Bindings:
    """`inspect` holds the whole chain against these heads, and those that are kept here."""

    async def verify(_: Services, _call: Call, request: pb.VerifyAuditLogsRequest) -> pb.VerifyAuditLogsResponse:
        return pb.VerifyAuditLogsResponse(verdict=verdict_out(await inspect(heads_in(request))))

    return {
        f"{SERVICE}.ListAuditLogs": Query(listed),
        f"{SERVICE}.ExportAuditLogs": Stream(exported),
        f"{SERVICE}.VerifyAuditLogs": Action(verify, ongoing=True),
    }


def listed(reader: Reader, call: Call, request: pb.ListAuditLogsRequest) -> pb.ListAuditLogsResponse:
    rows, token = reader.audit_page(filter_in(request.filter, call), page_in(request))
    return pb.ListAuditLogsResponse(audit_logs=map(row_out, rows), next_page_token=token)


async def exported(
    services: Services, call: Call, request: pb.ExportAuditLogsRequest
) -> AsyncGenerator[pb.ExportAuditLogsResponse, None]:
    where, token = filter_in(request.filter, call), ""
    while True:
        rows, token = await services.store.read(partial(fitting, where=where, page=Page(PAGE, token)))
        for row in rows:
            yield pb.ExportAuditLogsResponse(audit_log=row_out(row))
        if not token:
            return


def fitting(reader: Reader, where: AuditFilter, page: Page) -> tuple[list[AuditRow], str]:
    return reader.audit_page(where, page)
