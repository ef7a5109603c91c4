"""The templates of this host, named by their content and verified into sealed memory before any use."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ext import snapshot
from hostd import record
from hostd.caches import touch
from hostd.errors import DamagedStateError, NotFoundError
from hostd.images.store import OpenImage
from hostd.ports import Template
from hostd.statedir import write_atomic
from hostd.templates.manifest import VERSION, Content, Identity, Manifest
from hostd.thread import make

REMEDY = "remove it; it is baked again when it is needed"
LARGEST_STATE = 64 << 20
PAGE = 4096
KEPT = 8


@dataclass(frozen=True, slots=True)
class Sealed:
    """A template that passed its check: memory that nothing can alter any more, device state, image."""

    manifest: Manifest
    digest: str
    image: OpenImage
    memory: int
    state: int

    def close(self) -> None:
        os.close(self.memory)
        os.close(self.state)


class TemplateStore:
    """Folders ``<digest>/{manifest.json,memory,state}`` under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def templates(self) -> list[Template]:
        """Every template with a readable manifest, newest first."""
        found = (manifest.template() for _, manifest in self._manifests())
        return sorted(found, key=lambda template: -template.baked_ns)

    def find(self, identity: Identity) -> Path | None:
        """The newest template of this identity."""
        fitting = [(m.baked_ns, path) for path, m in self._manifests() if m.identity == identity]
        return max(fitting)[1] if fitting else None

    def scratch(self) -> Path:
        """A new folder in which a template is put together; see `publish`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))

    def publish(self, scratch: Path, manifest: Manifest) -> Path:
        """Move a finished folder to its name: all of it or nothing."""
        target = self._folder / manifest.digest
        (scratch / "manifest.json").write_bytes(record.encode(manifest))
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
        self._prune()
        return target

    def _prune(self) -> None:
        """Forget the oldest; those who have one open hold it by descriptors."""
        newest = sorted(self._manifests(), key=lambda found: -found[1].baked_ns)
        for path, _ in newest[KEPT:]:
            self.remove(path)

    def annotate(self, path: Path, manifest: Manifest) -> None:
        """Replace the manifest's remarks; its digest stays."""
        write_atomic(path / "manifest.json", record.encode(manifest))

    async def open(self, path: Path, image: OpenImage) -> Sealed:
        """Verify a template into sealed memory. `DamagedStateError` before anything is started from it."""
        touch(path)
        return await make(Sealed.close, seal, path, image)

    async def verify(self, digest: str) -> list[str]:
        """Check one template, or "all"; one line per fault. `NotFoundError`."""
        paths = [path for path in self._folder.glob("[0-9a-f]*") if digest in {"all", path.name}]
        if not paths and digest != "all":
            raise NotFoundError(f"no template {digest}")
        return [fault for path in sorted(paths) if (fault := await asyncio.to_thread(_fault, path))]

    def remove(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(path)

    def _manifests(self) -> Iterator[tuple[Path, Manifest]]:
        for path in self._folder.glob("[0-9a-f]*/manifest.json"):
            with suppress(DamagedStateError, OSError):
                yield path.parent, read_manifest(path.parent)


def read_manifest(path: Path) -> Manifest:
    """The manifest in folder `path`. `DamagedStateError` when it is not that of this folder."""
    try:
        manifest = record.load(Manifest, path / "manifest.json", REMEDY)
    except OSError as error:
        raise DamagedStateError(f"template {path} has no readable manifest ({error.strerror}); {REMEDY}") from error
    if manifest.version != VERSION or manifest.digest != path.name:
        raise DamagedStateError(f"template {path}: its manifest was changed or is of another version; {REMEDY}")
    return manifest


def seal(path: Path, image: OpenImage) -> Sealed:
    """Blocking part of `TemplateStore.open`."""
    manifest = read_manifest(path)
    if manifest.identity.image_digest != image.digest:
        raise DamagedStateError(f"template {path} was baked from another image; {REMEDY}")
    memory = _sealed(path / "memory", manifest.memory)
    try:
        return Sealed(manifest, path.name, image, memory, _state(path / "state", manifest.state))
    except BaseException:
        os.close(memory)
        raise


def _fault(path: Path) -> str:
    try:
        manifest = read_manifest(path)
        os.close(_sealed(path / "memory", manifest.memory))
        os.close(_state(path / "state", manifest.state))
    except DamagedStateError as error:
        return str(error)
    return ""


def _sealed(path: Path, expected: Content) -> int:
    fd = _open(path, expected)
    try:
        return snapshot.seal(fd, expected.size_bytes, bytes.fromhex(expected.sha256))
    except snapshot.ImageMismatch as error:
        raise DamagedStateError(f"{path} is damaged (sha256 differs from its manifest); {REMEDY}") from error
    finally:
        os.close(fd)


def _state(path: Path, expected: Content) -> int:
    """The state as a sealed memfd too: small, and safe from later changes of the file."""
    if expected.size_bytes > LARGEST_STATE:
        raise DamagedStateError(f"{path} is larger than a device state can be; {REMEDY}")
    return _sealed(path, expected)


def _open(path: Path, expected: Content) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise DamagedStateError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from error
    if os.fstat(fd).st_size != expected.size_bytes or expected.size_bytes % PAGE:
        os.close(fd)
        raise DamagedStateError(f"{path} is damaged (its size differs from its manifest); {REMEDY}")
    return fd


def measure(path: Path) -> Content:
    """Digest and size of a device state that was just written; it is filled up to whole pages, as sealing wants."""
    size = -path.stat().st_size % PAGE + path.stat().st_size
    os.truncate(path, size)
    return Content(hashlib.sha256(path.read_bytes()).hexdigest(), size)
