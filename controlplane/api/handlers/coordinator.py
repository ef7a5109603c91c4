"""CoordinatorService."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from controlplane.api.bindings import Action, Bindings, Command, Query
from controlplane.api.convert.cleanup import report_out, run_out
from controlplane.api.convert.common import timestamp
from controlplane.domain.call import Call
from controlplane.domain.cleanup import CleanupReport
from controlplane.domain.lease import TIMES, LeaseTimes
from controlplane.ports import Reader, Tx
from controlplane.usecases import coordinator
from controlplane.usecases.services import Services
from swarm.coordinator.v1 import coordinator_pb2
from swarm.coordinator.v1 import service_pb2 as pb

SERVICE = "swarm.coordinator.v1.CoordinatorService"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What is known of the running process only; all but `cleanup` answer from any thread.

    `cleanup` has the control plane and all hosts clean up, for whom its argument names.
    """

    started_at: float
    version: str
    connected: Callable[[], frozenset[str]]
    unplaceable: Callable[[], Mapping[str, str]]
    alerts: Callable[[], Sequence[str]]
    cleanup: Callable[[str], Awaitable[CleanupReport]]
    times: LeaseTimes = TIMES
    disk: Callable[[], coordinator.Disk] = coordinator.Disk


def bindings(runtime: Runtime) -> Bindings:
    def status(reader: Reader, call: Call) -> coordinator_pb2.CoordinatorStatus:
        found = coordinator.status(
            reader,
            call,
            started_at=runtime.started_at,
            version=runtime.version,
            connected=runtime.connected(),
            unplaceable=runtime.unplaceable(),
            disk=runtime.disk(),
            alerts=runtime.alerts(),
        )
        return status_out(found)

    def get_status(reader: Reader, call: Call, _request: pb.GetStatusRequest) -> pb.GetStatusResponse:
        return pb.GetStatusResponse(status=status(reader, call))

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


def cleanup_status(reader: Reader, call: Call, request: pb.GetCleanupStatusRequest) -> pb.GetCleanupStatusResponse:
    found = coordinator.cleanup_status(reader, call, request.host_id, request.runs)
    return pb.GetCleanupStatusResponse(runs=[run_out(run, name) for run, name in found])
