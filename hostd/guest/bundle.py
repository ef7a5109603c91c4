"""Unpacks an agent's bundle: plain files and folders only, below one folder."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile

from .failure import Failure


def unpack(data: bytes, digest: str, folder: str) -> None:
    """`Failure` when the bundle is not what its digest says or holds anything else."""
    if digest and hashlib.sha256(data).hexdigest() != digest:
        raise Failure("prepare", "the agent's bundle is damaged")
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                _unpack_one(archive, member, folder)
    except (tarfile.TarError, OSError) as error:
        raise Failure("prepare", f"the agent's bundle cannot be unpacked: {error}") from error


def _unpack_one(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: str) -> None:
    if member.name.startswith("/") or ".." in member.name.split("/") or not (member.isreg() or member.isdir()):
        raise Failure("prepare", f"the agent's bundle holds {member.name!r}, which is no plain file")
    path = f"{folder}/{member.name}"
    if member.isdir():
        os.makedirs(path, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None
    with open(path, "wb") as file:
        file.write(content.read())
    os.chmod(path, 0o755 if member.mode & 0o100 else 0o644)
