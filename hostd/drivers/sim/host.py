"""The VM layer of simulated VMs; see `hostd.ports.VmHost`."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from hostd import record
from hostd.drivers.sim import process
from hostd.drivers.sim.settings import DEFAULT_SIZE, SimSettings
from hostd.drivers.sim.vm import Fate, Handle, SimVm, listen
from hostd.errors import DamagedStateError, HostFullError, NotFoundError, TemplateError
from hostd.ids import new
from hostd.ports import (
    Capabilities,
    CleanupCounts,
    Image,
    Isolation,
    Progress,
    ProgressSink,
    Template,
    VmRequest,
    VmSize,
)
from hostd.statedir import write_atomic

log = logging.getLogger("hostd.sim")

VERSION = "1"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _free_port() -> int:
    """A datagram port for a guest's doorbell."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class SimHost:
    """`folder` holds one folder per VM."""

    isolation = Isolation.SIM
    drivers: Sequence[str] = ("sim",)
    capabilities = Capabilities(snapshot=False, pause=True, console=True, templates=True)
    warnings: Sequence[str] = ("simulated VMs: agents run as processes of this machine, with no isolation",)

    def __init__(self, folder: Path, settings: SimSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._dice = settings.random()
        self._vms: dict[str, SimVm] = {}
        self._images = {name: self._image(name) for name in settings.images}
        self._templates = {name: self._template(name, DEFAULT_SIZE) for name in settings.images}

    @staticmethod
    def _image(name: str) -> Image:
        return Image(name, _digest(f"sim image {name}"), 0, DEFAULT_SIZE, time.time_ns())

    def _template(self, name: str, size: VmSize) -> Template:
        vcpus, memory = size.vcpus or DEFAULT_SIZE.vcpus, size.memory_mib or DEFAULT_SIZE.memory_mib
        digest = _digest(f"sim template {name} {vcpus} {memory}")
        return Template(digest, name, self._images[name].digest, "sim", VERSION, vcpus, memory, 0, time.time_ns())

    async def recover(self) -> Sequence[SimVm]:
        for folder in sorted(self._folder.iterdir()):
            handle = self._load(folder)
            if handle is None or not self._adopt(handle, folder):
                shutil.rmtree(folder, ignore_errors=True)
        await asyncio.to_thread(process.kill_strays, self._folder, frozenset(self._vms))
        return tuple(self._vms.values())

    def _adopt(self, handle: Handle, folder: Path) -> bool:
        found = process.Process(handle.pid, handle.start_ticks)
        if not handle.pid or not process.lives(found):
            return False
        try:
            listener = listen(handle.port)
        except OSError as error:
            log.warning("cannot adopt a VM", extra={"vm_id": handle.vm_id, "reason": str(error)})
            process.kill_tree(found)
            return False
        self._vms[handle.vm_id] = SimVm(
            handle, listener, folder, self._settings, fate=Fate(), stopped=self._forget, adopted=True
        )
        return True

    @staticmethod
    def _load(folder: Path) -> Handle | None:
        try:
            return record.load(Handle, folder / "handle.json", "the VM is forgotten")
        except (OSError, DamagedStateError) as error:
            log.warning("unusable VM handle", extra={"reason": str(error)})
            return None

    async def open(self, progress: ProgressSink) -> None:
        progress(Progress(1.0, "simulated VMs are ready"))

    async def acquire(self, request: VmRequest) -> SimVm:
        if len(self._vms) >= self._settings.max_vms:
            raise HostFullError(f"all {self._settings.max_vms} VMs of this host are in use")
        if request.image not in self._templates:
            raise TemplateError(f"no image {request.image[:128]!r} on this host")
        vm = self._make(request)
        try:
            await asyncio.sleep(self._settings.acquire_ms / 1000)
        except asyncio.CancelledError:
            await vm.stop()
            raise
        return vm

    def _make(self, request: VmRequest) -> SimVm:
        size = VmSize(
            request.size.vcpus or DEFAULT_SIZE.vcpus,
            request.size.memory_mib or DEFAULT_SIZE.memory_mib,
            request.size.disk_mib or DEFAULT_SIZE.disk_mib,
        )
        listener = listen()
        handle = Handle(
            vm_id=new("vm"),
            attempt_id=request.attempt_id or "",
            image=request.image,
            template=self._templates[request.image].digest,
            size=size,
            created_ns=time.time_ns(),
            port=listener.getsockname()[1],
            bell=_free_port(),
        )
        folder = self._folder / handle.vm_id
        folder.mkdir(mode=0o711)
        write_atomic(folder / "handle.json", record.encode(handle))
        vm = SimVm(handle, listener, folder, self._settings, fate=self._roll(), stopped=self._forget)
        self._vms[handle.vm_id] = vm
        return vm

    def _roll(self) -> Fate:
        """The same number of dice for each VM, so that one rate does not shift the other's outcome."""
        boot, death, moment = self._dice.random(), self._dice.random(), self._dice.random()
        settings = self._settings
        dies = moment * settings.death_within_ms / 1000 if death < settings.death_rate else None
        return Fate(fails_to_boot=boot < settings.boot_failure_rate, dies_after_s=dies)

    def _forget(self, vm: SimVm) -> None:
        self._vms.pop(vm.id, None)

    def vms(self) -> Sequence[SimVm]:
        return tuple(self._vms.values())

    def images(self) -> Sequence[Image]:
        return tuple(self._images.values())

    def templates(self) -> Sequence[Template]:
        return tuple(self._templates.values())

    async def build_image(self, name: str, progress: ProgressSink) -> None:
        progress(Progress(0.5, f"building {name}"))
        self._images[name] = self._image(name)
        progress(Progress(1.0, f"built {name}"))

    async def bake(self, image: str, size: VmSize, progress: ProgressSink) -> None:
        if image not in self._images:
            raise NotFoundError(f"no image {image[:128]!r} on this host")
        progress(Progress(0.5, f"baking {image}"))
        self._templates[image] = self._template(image, size)

    async def verify(self, digest: str, progress: ProgressSink) -> None:
        known = {template.digest for template in self._templates.values()}
        if digest not in known | {"all"}:
            raise NotFoundError(f"no template {digest[:64]!r} on this host")
        progress(Progress(1.0, "verified"))

    async def cleanup(self) -> CleanupCounts:
        stale = [path for path in sorted(self._folder.iterdir()) if path.name not in self._vms]
        ended = [path.name for path in stale if self._end_orphan(path)]
        for path in stale:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        details = (*(f"ended the guest of {name}" for name in ended), *(f"removed {path.name}" for path in stale))
        return CleanupCounts(vms=len(ended), files=len(stale), details=details)

    def _end_orphan(self, folder: Path) -> bool:
        """Whether a guest still ran there."""
        handle = self._load(folder) if (folder / "handle.json").exists() else None
        found = process.Process(handle.pid, handle.start_ticks) if handle else process.Process(0, 0)
        if not found.pid or not process.lives(found):
            return False
        process.kill_tree(found)
        return True

    async def close(self, *, keep_vms: bool) -> None:
        for vm in self.vms():
            await (vm.leave() if keep_vms and vm.handle.pid else vm.stop())
