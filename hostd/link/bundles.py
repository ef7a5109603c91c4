"""Agent bundles, fetched by digest from the control plane and kept for the next attempt that names them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO

import grpc.aio

from hostd.errors import BundleError
from hostd.ids import new
from hostd.link.client import Link
from swarm.hostlink.v1 import service_pb2

DIGEST = re.compile(r"[0-9a-f]{64}")
CAP_BYTES = 256 << 20
KEEP = 32


class Bundles:
    """Cache in one folder; a bundle is there completely and verified, or not at all."""

    def __init__(self, folder: Path, link: Link, *, cap_bytes: int = CAP_BYTES) -> None:
        self._folder = folder
        self._link = link
        self._cap = cap_bytes
        self._fetching: dict[str, asyncio.Task[Path]] = {}

    async def fetch(self, digest: str) -> Path:
        """Path of the tar with that sha256; one download at a time per digest. `BundleError`."""
        if not DIGEST.fullmatch(digest):
            raise BundleError(f"{digest[:80]!r} is no sha256 of an agent bundle")
        path = self._folder / f"{digest}.tar"
        if path.exists():
            os.utime(path)
            return path
        task = self._fetching.get(digest)
        if task is None:
            task = self._fetching[digest] = asyncio.ensure_future(self._download(digest, path))
            task.add_done_callback(lambda _: self._fetching.pop(digest, None))
        # One waiter that gives up must not take the download from the others.
        return await asyncio.shield(task)

    async def _download(self, digest: str, path: Path) -> Path:
        partial = self._folder / f".{new('part')}"
        try:
            with partial.open("wb") as file:
                await self._receive(digest, file)
            partial.chmod(0o644)
            partial.replace(path)
        except grpc.aio.AioRpcError as error:
            raise BundleError(f"agent bundle {digest[:12]}: {error.code().name}: {error.details()}") from error
        except OSError as error:
            raise BundleError(f"agent bundle {digest[:12]}: {error}") from error
        finally:
            partial.unlink(missing_ok=True)
        self._prune()
        return path

    async def _receive(self, digest: str, file: BinaryIO) -> None:
        hasher, size = hashlib.sha256(), 0
        request = service_pb2.FetchBundleRequest(digest=digest)
        call = self._link.stub.FetchBundle(request, metadata=self._link.endpoint.metadata(), timeout=120)
        async for piece in call:
            size += len(piece.data)
            if size > self._cap:
                raise BundleError(f"agent bundle {digest[:12]} is larger than {self._cap} bytes")
            hasher.update(piece.data)
            file.write(piece.data)
        if hasher.hexdigest() != digest:
            raise BundleError(f"agent bundle {digest[:12]} does not match its digest")

    def _prune(self) -> None:
        """Keep the most recently used; a bundle in use stays readable through the broker's open file."""
        bundles = sorted(self._folder.glob("*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in bundles[KEEP:]:
            path.unlink(missing_ok=True)
