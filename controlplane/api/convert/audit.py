"""Rows and verdicts of the audit log."""

from __future__ import annotations

from controlplane.api.convert.common import json_out, seconds, timestamp
from controlplane.domain.audit import AuditFilter, AuditHead, AuditRow, Inspection
from controlplane.domain.call import Call
from swarm.audit.v1 import audit_pb2
from swarm.audit.v1 import service_pb2 as pb

DEFAULT_TENANT = "default"  # whose admins run the deployment


def filter_in(message: pb.AuditLogFilter, call: Call) -> AuditFilter:
    tenant = call.principal.tenant_id
    return AuditFilter(
        tenant,
        untenanted=tenant == DEFAULT_TENANT,
        actor=message.actor,
        action=message.action,
        request_id=message.request_id,
        since=seconds(message.since) if message.HasField("since") else None,
        until=seconds(message.until) if message.HasField("until") else None,
    )


def row_out(row: AuditRow) -> audit_pb2.AuditLog:
    return audit_pb2.AuditLog(
        seq=row.seq,
        time=timestamp(row.time),
        action=row.action,
        principal=row.principal,
        user_id=row.user_id,
        tenant_id=row.tenant_id,
        request_id=row.request_id,
        data=json_out(row.data),
        key=row.key,
        mac=row.mac,
    )


def verdict_out(found: Inspection) -> audit_pb2.AuditVerdict:
    broken = found.broken
    return audit_pb2.AuditVerdict(
        sound=broken is None,
        rows=found.rows,
        first_bad_seq=broken.seq if broken else 0,
        reason=broken.reason if broken else "",
        head=audit_pb2.AuditHead(seq=found.head.seq, mac=found.head.mac) if found.head else None,
        heads=len(found.heads),
    )


def heads_in(request: pb.VerifyAuditLogsRequest) -> list[AuditHead]:
    return [AuditHead(head.seq, head.mac) for head in request.heads]
