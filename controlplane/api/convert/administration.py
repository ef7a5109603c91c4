"""Settings, usage and health of a deployment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from controlplane.api.convert.common import duration, enum_out
from controlplane.domain.health import Check, Status
from controlplane.domain.setting import Setting
from controlplane.domain.usage import UsageRow
from swarm.admin.v1 import admin_pb2
from swarm.admin.v1 import service_pb2 as pb

DAY_S = 86_400


def settings_out(settings: Iterable[Setting]) -> list[admin_pb2.Setting]:
    return [
        admin_pb2.Setting(
            name=each.name, value=each.value, source=each.source, changeable=each.changeable, help=each.help
        )
        for each in settings
    ]


def usage_out(rows: Sequence[UsageRow]) -> pb.GetUsageResponse:
    total = admin_pb2.Usage(
        tickets=sum(row.tickets for row in rows),
        attempts=sum(row.attempts for row in rows),
        vm_time=duration(sum(row.vm_s for row in rows)),
        input_tokens=sum(row.used.input_tokens for row in rows),
        output_tokens=sum(row.used.output_tokens for row in rows),
        cost_usd=sum(row.used.cost_usd for row in rows),
    )
    return pb.GetUsageResponse(rows=map(_row_out, rows), total=total)


def health_out(checks: Sequence[Check]) -> pb.GetHealthResponse:
    worst = max((check.status for check in checks if check.status is not Status.OFF), default=Status.OK)
    return pb.GetHealthResponse(
        status=enum_out(admin_pb2.HealthStatus, "HEALTH_STATUS", worst), checks=map(_check_out, checks)
    )


def _row_out(row: UsageRow) -> admin_pb2.Usage:
    return admin_pb2.Usage(
        day=datetime.fromtimestamp(row.day * DAY_S, UTC).date().isoformat(),
        tenant_id=row.tenant_id,
        project_id=row.project_id,
        user=row.user,
        tickets=row.tickets,
        attempts=row.attempts,
        vm_time=duration(row.vm_s),
        input_tokens=row.used.input_tokens,
        output_tokens=row.used.output_tokens,
        cost_usd=row.used.cost_usd,
    )


def _check_out(check: Check) -> admin_pb2.HealthCheck:
    status = enum_out(admin_pb2.HealthStatus, "HEALTH_STATUS", check.status)
    return admin_pb2.HealthCheck(name=check.name, status=status, detail=check.detail, advice=check.advice)
