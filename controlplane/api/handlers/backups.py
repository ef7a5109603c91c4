"""CoordinatorService.Backup: the archive as a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from controlplane.api.bindings import Bindings, Stream
from controlplane.api.convert.common import timestamp
from controlplane.domain.backup import Manifest, Piece
from swarm.coordinator.v1 import coordinator_pb2
from swarm.coordinator.v1 import service_pb2 as pb

METHOD = "swarm.coordinator.v1.CoordinatorService.Backup"


class Archivist(Protocol):
    def pieces(self) -> AsyncGenerator[Piece, None]: ...


def bindings(archivist: Archivist) -> Bindings:
    return {METHOD: Stream(lambda _services, _call, _request: backup(archivist))}


async def backup(archivist: Archivist) -> AsyncGenerator[pb.BackupResponse, None]:
    async with aclosing(archivist.pieces()) as pieces:
        async for piece in pieces:
            yield response(piece)


def response(piece: Piece) -> pb.BackupResponse:
    return pb.BackupResponse(
        fraction=piece.fraction,
        step=piece.step,
        data=piece.data,
        size=piece.size,
        manifest=manifest_out(piece.manifest) if piece.manifest else None,
        sha256=piece.sha256,
    )


def manifest_out(manifest: Manifest) -> coordinator_pb2.BackupManifest:
    return coordinator_pb2.BackupManifest(
        format=manifest.format,
        version=manifest.version,
        schema=manifest.schema,
        created_at=timestamp(manifest.created_at),
        epoch=manifest.epoch,
        rows=manifest.rows,
        files=[
            coordinator_pb2.BackupFile(name=file.name, size=file.size, sha256=file.sha256) for file in manifest.files
        ],
    )
