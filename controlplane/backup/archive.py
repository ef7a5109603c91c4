"""The archive: a plain tar of the manifest and then the files that it names, in its order and with its hashes."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from controlplane.backup.manifest import MANIFEST, MOST_BYTES, bad, decode, encode
from controlplane.domain.backup import BackupFile, Manifest

PIECE_BYTES: Final = 256 << 10
END: Final = b"\0" * (2 * tarfile.BLOCKSIZE)

Tell = Callable[[float], None]


def size_of(manifest: Manifest) -> int:
    """Bytes of the whole archive."""
    sizes = [len(encode(manifest)), *(each.size for each in manifest.files)]
    return sum(tarfile.BLOCKSIZE + size + len(_padding(size)) for size in sizes) + len(END)


def written(manifest: Manifest, contents: Mapping[str, IO[bytes]]) -> Iterator[bytes]:
    """The bytes of the archive, piece by piece."""
    head = encode(manifest)
    yield _header(MANIFEST, len(head), manifest.created_at) + head + _padding(len(head))
    for file in manifest.files:
        yield _header(file.name, file.size, manifest.created_at)
        while piece := contents[file.name].read(PIECE_BYTES):
            yield piece
        yield _padding(file.size)
    yield END


def _header(name: str, size: int, time: float) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, int(time), 0o600
    return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return b"\0" * (-size % tarfile.BLOCKSIZE)


def unpacked(file: Path, folder: Path, tell: Tell) -> Manifest:
    """Write the files of an archive below `folder`, all of them verified. StartError says what is wrong with it."""
    try:
        with file.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            manifest = decode(_content(tar, MANIFEST, MOST_BYTES).read(MOST_BYTES))
            total = max(1, sum(each.size for each in manifest.files))
            done = 0
            for each in manifest.files:
                for size in _unpack(tar, each, folder):
                    done += size
                    tell(done / total)
            if tar.next() is not None:
                raise bad("it holds more than its manifest names")
    except tarfile.TarError as fault:
        raise bad(f"it is no whole archive: {fault}") from None
    except FileNotFoundError:
        raise bad(f"there is no file {file}") from None
    return manifest


def _unpack(tar: tarfile.TarFile, file: BackupFile, folder: Path) -> Iterator[int]:
    content, digest = _content(tar, file.name, file.size), hashlib.sha256()
    target = folder / file.name
    target.parent.mkdir(mode=0o700, exist_ok=True)
    left = file.size
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
        while piece := content.read(min(PIECE_BYTES, left)):
            left -= len(piece)
            digest.update(piece)
            out.write(piece)
            yield len(piece)
        out.flush()
        os.fsync(out.fileno())
    if left or digest.hexdigest() != file.sha256:
        raise bad(f"{file.name} is not what was backed up")


def _content(tar: tarfile.TarFile, name: str, size: int) -> IO[bytes]:
    """The next member, which has to be this one: a plain file of at most that size."""
    member = tar.next()
    if member is None or member.name != name or member.type != tarfile.REGTYPE or member.size > size:
        raise bad(f"{name} is not where it belongs")
    content = tar.extractfile(member)
    if content is None:
        raise bad(f"{name} cannot be read")
    return content
