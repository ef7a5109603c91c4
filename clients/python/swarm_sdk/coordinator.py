"""The coordinator: whether and how far tickets are placed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from swarm.coordinator.v1 import service_pb2 as pb
from swarm.coordinator.v1.coordinator_pb2 import Circuit, CleanupReport, CleanupRun, CoordinatorStatus, Failures
from swarm.coordinator.v1.service_pb2_grpc import CoordinatorServiceStub
from swarm_sdk.errors import UnavailableError
from swarm_sdk.transport import Transport

CLEANUP_TIMEOUT_S = 600.0


class Coordinator:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = CoordinatorServiceStub(transport.channel)

    async def status(self) -> CoordinatorStatus:
        return (await self._transport.read(self._stub.GetStatus, pb.GetStatusRequest())).status

    async def failures(self, *, window_s: int = 86400) -> Failures:
        """Attempts that failed within the last so many seconds, counted by cause, fault, host and agent."""
        request = pb.GetFailuresRequest(window=Duration(seconds=window_s))
        return (await self._transport.read(self._stub.GetFailures, request)).failures

    async def circuit(self) -> Circuit:
        """Whether agents that need Claude are placed."""
        return (await self._transport.read(self._stub.GetCircuit, pb.GetCircuitRequest())).circuit

    async def start(self, *, max_vms: int = 0, key: str = "") -> CoordinatorStatus:
        """Places tickets again; `max_vms` caps the VMs of all hosts together, 0 leaves the cap as it is."""
        request = pb.StartRequest(max_vms=max_vms)
        return (await self._transport.change(self._stub.Start, request, key=key)).status

    async def stop(self, *, key: str = "") -> CoordinatorStatus:
        """Places nothing new; what runs goes on."""
        return (await self._transport.change(self._stub.Stop, pb.StopRequest(), key=key)).status

    async def cleanup(self, *, key: str = "") -> CleanupReport:
        """Removes what nothing needs any more, in the control plane and on every host that is online."""
        call = self._transport.change(self._stub.Cleanup, pb.CleanupRequest(), key=key, timeout_s=CLEANUP_TIMEOUT_S)
        return (await call).report

    async def cleanup_status(self, *, host: str = "", runs: int = 1) -> Sequence[CleanupRun]:
        """The last runs of the control plane and of each host, or of one host; newest first."""
        request = pb.GetCleanupStatusRequest(host_id=host, runs=runs)
        return (await self._transport.read(self._stub.GetCleanupStatus, request)).runs

    async def backup(self, file: str | Path) -> AsyncGenerator[pb.BackupResponse, None]:
        """Writes a verified backup to `file` while the control plane goes on; yields progress, last the manifest.

        The file appears complete, mode 0600, in the place of an older one, or not at all.
        """
        target = Path(file)
        part = target.with_name(f".{target.name}.part")
        part.unlink(missing_ok=True)
        answers = self._transport.stream(self._stub.Backup, pb.BackupRequest())
        try:
            async with contextlib.aclosing(answers):
                async for answer in _written(part, answers):
                    yield answer
            part.replace(target)
            _sync(target.parent)
        finally:
            part.unlink(missing_ok=True)


async def _written(
    part: Path, answers: AsyncGenerator[pb.BackupResponse, None]
) -> AsyncGenerator[pb.BackupResponse, None]:
    """The answers without their data, which is in the file and on the disk once the last one comes."""
    digest = hashlib.sha256()
    last = pb.BackupResponse()
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
        async for last in answers:
            out.write(last.data)
            digest.update(last.data)
            if not last.sha256:
                yield pb.BackupResponse(fraction=last.fraction, step=last.step, size=last.size)
        if last.sha256 != digest.hexdigest():
            raise UnavailableError("the backup did not arrive whole; try again", reason="backup_cut_off")
        out.flush()
        os.fsync(out.fileno())
    yield last


def _sync(folder: Path) -> None:
    """Makes a rename in the folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
