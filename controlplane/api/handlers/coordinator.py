"""CoordinatorService."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controlplane.api.bindings import Action, Bindings, Command, Query
from controlplane.api.convert.common import NANOS, timestamp
from controlplane.domain.call import Call
from controlplane.domain.failure import cause_of
from controlplane.ports import Reader, Tx
from controlplane.usecases import coordinator, failures
from controlplane.usecases.services import Services
from swarm.coordinator.v1 import coordinator_pb2
from swarm.coordinator.v1 import service_pb2 as pb

SERVICE = "swarm.coordinator.v1.CoordinatorService"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What is known of the running process only; both functions answer from any thread."""

    started_at: float
    version: str
    connected: Callable[[], frozenset[str]]
    unplaceable: Callable[[], Mapping[str, str]]


def bindings(runtime: Runtime) -> Bindings:
    def status(reader: Reader, call: Call) -> coordinator_pb2.CoordinatorStatus:
        found = coordinator.status(
            reader,
            call,
            started_at=runtime.started_at,
            version=runtime.version,
            connected=runtime.connected(),
            unplaceable=runtime.unplaceable(),
        )
        return status_out(found)

    def get_status(reader: Reader, call: Call, _request: pb.GetStatusRequest) -> pb.GetStatusResponse:
        return pb.GetStatusResponse(status=status(reader, call))

    def get_failures(reader: Reader, call: Call, request: pb.GetFailuresRequest) -> pb.GetFailuresResponse:
        window_s = request.window.seconds + request.window.nanos / NANOS
        return pb.GetFailuresResponse(failures=failures_out(failures.failures(reader, call, window_s)))

    def start(tx: Tx, call: Call, request: pb.StartRequest) -> pb.StartResponse:
        coordinator.start(tx, call, request.max_vms)
        return pb.StartResponse(status=status(tx, call))

    def stop(tx: Tx, call: Call, _request: pb.StopRequest) -> pb.StopResponse:
        coordinator.stop(tx, call)
        return pb.StopResponse(status=status(tx, call))

    return {
        f"{SERVICE}.GetStatus": Query(get_status),
        f"{SERVICE}.GetFailures": Query(get_failures),
        f"{SERVICE}.Start": Command(start),
        f"{SERVICE}.Stop": Command(stop),
        f"{SERVICE}.Cleanup": Action(cleanup),
    }


def status_out(status: coordinator.CoordinatorStatus) -> coordinator_pb2.CoordinatorStatus:
    states = coordinator_pb2.CoordinatorState
    return coordinator_pb2.CoordinatorStatus(
        state=states.COORDINATOR_STATE_RUNNING if status.running else states.COORDINATOR_STATE_STOPPED,
        queue_depth=status.queue_depth,
        running=status.leased,
        max_vms=status.max_vms,
        hosts_online=status.hosts_online,
        hosts_total=status.hosts_total,
        tickets={state.value: count for state, count in status.tickets.items()},
        started_at=timestamp(status.started_at),
        version=status.version,
        unplaceable=status.unplaceable,
    )


def failures_out(found: failures.Failures) -> coordinator_pb2.Failures:
    return coordinator_pb2.Failures(
        since=timestamp(found.since),
        attempts=found.attempts,
        failed=found.failed,
        dead_letters=found.dead_letters,
        by_cause=[_cause_out(name, count) for name, count in found.by_cause.items()],
        by_fault=_counts_out(found.by_fault),
        by_host=_counts_out(found.by_host),
        by_agent=_counts_out(found.by_agent),
    )


def _cause_out(name: str, count: int) -> coordinator_pb2.FailureCount:
    cause = cause_of(name)
    return coordinator_pb2.FailureCount(name=name, count=count, fault=cause.fault, explanation=cause.explanation)


def _counts_out(counts: Mapping[str, int]) -> list[coordinator_pb2.FailureCount]:
    return [coordinator_pb2.FailureCount(name=name, count=count) for name, count in counts.items()]


async def cleanup(services: Services, call: Call, _request: pb.CleanupRequest) -> pb.CleanupResponse:
    found = await coordinator.cleanup(services, call)
    report = coordinator_pb2.CleanupReport(
        vms=found.vms,
        namespaces=found.namespaces,
        files=found.files,
        assignments=found.assignments,
        details=found.details,
    )
    return pb.CleanupResponse(report=report)
