"""CoordinatorService."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from controlplane.api.bindings import Action, Bindings, Command, Query
from controlplane.api.convert.circuit import circuit_out
from controlplane.api.convert.cleanup import report_out, run_out
from controlplane.api.convert.common import NANOS, timestamp
from controlplane.api.handlers.audit import Inspect
from controlplane.domain.call import Call
from controlplane.domain.circuit import CLAUDE, Circuit
from controlplane.domain.cleanup import CleanupReport
from controlplane.domain.failure import cause_of
from controlplane.domain.lease import TIMES, LeaseTimes
from controlplane.ports import Reader, Tx
from controlplane.usecases import coordinator, failures
from controlplane.usecases.services import Services
from swarm.coordinator.v1 import coordinator_pb2
from swarm.coordinator.v1 import service_pb2 as pb

SERVICE = "swarm.coordinator.v1.CoordinatorService"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What is known of the running process only; all that does not have to be awaited answers from any thread.

    `unplaceable` says by ticket key why a tenant's tickets wait.
    `cleanup` has the control plane and all hosts clean up, for whom its argument names; `inspect` checks the audit log.
    """

    started_at: float
    version: str
    connected: Callable[[], frozenset[str]]
    unplaceable: Callable[[str], Mapping[str, str]]
    alerts: Callable[[], Sequence[str]]
    cleanup: Callable[[str], Awaitable[CleanupReport]]
    inspect: Inspect
    times: LeaseTimes = TIMES
    disk: Callable[[], coordinator.Disk] = coordinator.Disk
    circuit: Callable[[str], Circuit] = lambda _upstream: Circuit()


def bindings(runtime: Runtime) -> Bindings:
    def status(reader: Reader, call: Call) -> coordinator_pb2.CoordinatorStatus:
        found = coordinator.status(
            reader,
            call,
            started_at=runtime.started_at,
            version=runtime.version,
            connected=runtime.connected(),
            unplaceable=runtime.unplaceable(call.principal.tenant_id),
            disk=runtime.disk(),
            alerts=runtime.alerts(),
        )
        return status_out(found)

    def get_status(reader: Reader, call: Call, _request: pb.GetStatusRequest) -> pb.GetStatusResponse:
        return pb.GetStatusResponse(status=status(reader, call))

    def get_failures(reader: Reader, call: Call, request: pb.GetFailuresRequest) -> pb.GetFailuresResponse:
        window_s = request.window.seconds + request.window.nanos / NANOS
        return pb.GetFailuresResponse(failures=failures_out(failures.failures(reader, call, window_s)))

    def get_circuit(_reader: Reader, call: Call, _request: pb.GetCircuitRequest) -> pb.GetCircuitResponse:
        return pb.GetCircuitResponse(circuit=circuit_out(CLAUDE, runtime.circuit(CLAUDE), call.now))

    def start(tx: Tx, call: Call, request: pb.StartRequest) -> pb.StartResponse:
        coordinator.start(tx, call, request.max_vms)
        return pb.StartResponse(status=status(tx, call))

    def stop(tx: Tx, call: Call, _request: pb.StopRequest) -> pb.StopResponse:
        coordinator.stop(tx, call)
        return pb.StopResponse(status=status(tx, call))

    async def cleanup(_services: Services, call: Call, _request: pb.CleanupRequest) -> pb.CleanupResponse:
        return pb.CleanupResponse(report=report_out(await runtime.cleanup(call.principal.name)))

    return {
        f"{SERVICE}.GetStatus": Query(get_status),
        f"{SERVICE}.GetFailures": Query(get_failures),
        f"{SERVICE}.GetCircuit": Query(get_circuit),
        f"{SERVICE}.Start": Command(start),
        f"{SERVICE}.Stop": Command(stop),
        f"{SERVICE}.Cleanup": Action(cleanup),
        f"{SERVICE}.GetCleanupStatus": Query(cleanup_status),
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
        epoch=status.epoch,
        disk_free_bytes=status.disk.free_bytes,
        disk_full=status.disk.refusal,
        alerts=status.alerts,
        vms=status.vms,
        vms_unhealthy=status.vms_unhealthy,
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


def cleanup_status(reader: Reader, call: Call, request: pb.GetCleanupStatusRequest) -> pb.GetCleanupStatusResponse:
    found = coordinator.cleanup_status(reader, call, request.host_id, request.runs)
    return pb.GetCleanupStatusResponse(runs=[run_out(run, name) for run, name in found])
