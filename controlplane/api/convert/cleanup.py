"""What cleanups removed."""

from __future__ import annotations

from controlplane.api.convert.common import timestamp
from controlplane.domain.cleanup import MOST_DETAILS, CleanupReport, CleanupRun
from swarm.coordinator.v1 import coordinator_pb2 as pb

LONGEST = 500


def report_in(message: pb.CleanupReport) -> CleanupReport:
    """A report of a host; what only the control plane cleans is not its to say."""
    return CleanupReport(
        vms=message.vms,
        namespaces=message.namespaces,
        files=message.files,
        cgroups=message.cgroups,
        cached=message.cached,
        freed_bytes=message.freed_bytes,
        details=tuple(line[:LONGEST] for line in message.details[:MOST_DETAILS]),
    )


def report_out(report: CleanupReport) -> pb.CleanupReport:
    return pb.CleanupReport(
        vms=report.vms,
        namespaces=report.namespaces,
        files=report.files,
        assignments=report.assignments,
        cgroups=report.cgroups,
        cached=report.cached,
        freed_bytes=report.freed_bytes,
        branches=report.branches,
        rows=report.rows,
        details=report.details,
    )


def run_out(run: CleanupRun, host_name: str) -> pb.CleanupRun:
    return pb.CleanupRun(
        host_id=run.host_id,
        host_name=host_name,
        by=run.by,
        started_at=timestamp(run.started_at),
        finished_at=timestamp(run.finished_at),
        report=report_out(run.report),
        error=run.error,
    )
