"""The images of this host: built on demand, verified before use, refused when damaged."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ext import snapshot
from hostd import record
from hostd.caches import touch
from hostd.errors import DamagedStateError, NotFoundError, TemplateError
from hostd.images import initramfs
from hostd.images.base import build_base, make_scratch, publish
from hostd.images.recipe import KERNEL_MODULES, RECIPES, Recipe, image_key
from hostd.ports import Image, Progress, ProgressSink, VmSize
from hostd.thread import make

RUNTIME = Path(__file__).resolve().parent.parent / "guest"
FILES = ("initrd", "kernel", "root")
REMEDY = "remove it and run `swarm image build`"


@dataclass(frozen=True, slots=True)
class File:
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """`key` is the digest of what the image was made from, `digest` that of what came out."""

    version: int
    name: str
    key: str
    files: dict[str, File]
    vcpus: int
    memory_mib: int
    disk_mib: int
    built_ns: int

    @property
    def digest(self) -> str:
        return hashlib.sha256(record.encode(replace(self, built_ns=0))).hexdigest()

    @property
    def size(self) -> VmSize:
        return VmSize(self.vcpus, self.memory_mib, self.disk_mib)

    def image(self) -> Image:
        total = sum(file.size_bytes for file in self.files.values())
        return Image(self.name, self.digest, total, self.size, self.built_ns)


class OpenImage:
    """A verified image, held by descriptors: replacing its files changes nothing for those who have it open."""

    def __init__(self, manifest: Manifest, fds: dict[str, int]) -> None:
        self.manifest = manifest
        self.digest = manifest.digest
        self.kernel, self.initrd, self.root = fds["kernel"], fds["initrd"], fds["root"]

    def close(self) -> None:
        for fd in (self.kernel, self.initrd, self.root):
            os.close(fd)


class ImageStore:
    """Images under `folder`; `runtime` is the guest runtime's source folder."""

    def __init__(self, folder: Path, runtime: Path = RUNTIME, recipes: Mapping[str, Recipe] = RECIPES) -> None:
        self._folder = folder
        self._runtime = runtime
        self._recipes = recipes
        self._lock = asyncio.Lock()
        self._open: dict[str, OpenImage] = {}

    def images(self) -> list[Image]:
        """Every built image, newest first; damaged manifests are left out."""
        found = [self._read(path) for path in self._folder.glob("*-*/manifest.json")]
        return sorted((m.image() for m in found if m is not None), key=lambda image: -image.built_ns)

    async def build(self, name: str, progress: ProgressSink) -> Image:
        """Build `name` unless it is there and whole. A damaged one is built again."""
        async with self._lock:
            return (await self._ensure(name, progress)).manifest.image()

    async def open(self, name: str, progress: ProgressSink) -> OpenImage:
        """The verified current image `name`, built on first use. `NotFoundError`, `TemplateError`."""
        async with self._lock:
            return await self._ensure(name, progress)

    def held(self) -> set[Path]:
        """Folders of the images that are open."""
        return {self._folder / name for name in self._open}

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def default_size(self, name: str) -> VmSize:
        return self._recipe(name).size

    async def _ensure(self, name: str, progress: ProgressSink) -> OpenImage:
        path = self._path(self._recipe(name))
        held = self._open.get(path.name)
        if held is not None:
            return held
        if await asyncio.to_thread(path.exists):
            try:
                return await self._hold(path)
            except DamagedStateError as error:
                progress(Progress(0.0, f"{error}: building it again"))
                await asyncio.to_thread(shutil.rmtree, path)
        await self._build(self._recipe(name), path, progress)
        progress(Progress(1.0, f"image {name} is built"))
        return await self._hold(path)

    async def _hold(self, path: Path) -> OpenImage:
        image = await make(OpenImage.close, open_verified, path)
        self._open[path.name] = image
        touch(path)
        return image

    def _recipe(self, name: str) -> Recipe:
        if name not in self._recipes:
            raise NotFoundError(f"no image is called {name!r}; there are: {', '.join(sorted(self._recipes))}")
        return self._recipes[name]

    def _path(self, recipe: Recipe) -> Path:
        if not (self._runtime / "__main__.py").is_file():
            raise TemplateError(f"the guest runtime is missing: {self._runtime}/__main__.py")
        key = image_key(recipe, initramfs.init_script(KERNEL_MODULES), self._runtime)
        return self._folder / f"{recipe.name}-{key[:16]}"

    async def _build(self, recipe: Recipe, path: Path, progress: ProgressSink) -> None:
        base = await build_base(recipe, self._folder / "base", progress)
        progress(Progress(0.95, "adding the guest runtime"))
        scratch = make_scratch(self._folder)
        out = scratch / "out"
        try:
            init = initramfs.init_script([module.stem for module in base.modules])
            data = initramfs.archive(initramfs.entries(init, base.busybox, base.modules, self._runtime))
            await asyncio.to_thread(_assemble, out, {"kernel": base.kernel, "root": base.root}, data)
            await asyncio.to_thread(_write_manifest, out, recipe, path.name.rpartition("-")[2])
            publish(out, path)
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)

    @staticmethod
    def _read(path: Path) -> Manifest | None:
        try:
            return record.load(Manifest, path, REMEDY)
        except (DamagedStateError, OSError):
            return None


def _assemble(folder: Path, links: Mapping[str, Path], initrd: bytes) -> None:
    for name, source in links.items():
        os.link(source, folder / name)
    (folder / "initrd").write_bytes(initrd)


def _write_manifest(folder: Path, recipe: Recipe, key: str) -> None:
    files = {name: _measure(folder / name) for name in FILES}
    size = recipe.size
    manifest = Manifest(1, recipe.name, key, files, size.vcpus, size.memory_mib, size.disk_mib, built_ns=time.time_ns())
    (folder / "manifest.json").write_bytes(record.encode(manifest))


def _measure(path: Path) -> File:
    with path.open("rb") as file:
        size = path.stat().st_size
        return File(snapshot.digest(file.fileno(), size).hex(), size)


def open_verified(path: Path) -> OpenImage:
    """Open the image in folder `path` and hash its files. `DamagedStateError` in one line."""
    try:
        manifest = record.load(Manifest, path / "manifest.json", REMEDY)
    except OSError as error:
        raise DamagedStateError(f"{path} has no readable manifest ({error.strerror}); {REMEDY}") from error
    if manifest.version != 1 or set(manifest.files) != set(FILES) or path.name != f"{manifest.name}-{manifest.key}":
        raise DamagedStateError(f"{path}/manifest.json does not describe this image; {REMEDY}")
    fds: dict[str, int] = {}
    try:
        for name, file in manifest.files.items():
            fds[name] = _open_file(path / name, file)
    except BaseException:
        for fd in fds.values():
            os.close(fd)
        raise
    return OpenImage(manifest, fds)


def _open_file(path: Path, expected: File) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise DamagedStateError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from error
    whole = os.fstat(fd).st_size == expected.size_bytes
    if whole and snapshot.digest(fd, expected.size_bytes).hex() == expected.sha256:
        return fd
    os.close(fd)
    raise DamagedStateError(f"{path} is damaged (sha256 differs from its manifest); {REMEDY}")
