"""The VM layer: `hostd.ports.VmHost` over a driver, its templates and its pool."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from hostd.caches import evict
from hostd.drivers.qemu.driver import QemuDriver
from hostd.errors import DamagedStateError, HostFullError, HostStoppingError, TemplateError, VmLostError
from hostd.failpoint import failpoint
from hostd.images.store import ImageStore, OpenImage
from hostd.pool import handle, orphans
from hostd.pool.adopt import adopt
from hostd.pool.cgroup import Cgroups
from hostd.pool.config import PoolConfig
from hostd.pool.disk import Disks
from hostd.pool.identity import Uids
from hostd.pool.marks import resolve
from hostd.pool.probe import choose
from hostd.pool.reaper import Reaper
from hostd.pool.slots import Slots
from hostd.pool.stock import Stock
from hostd.pool.unit import Unit
from hostd.pool.vm import PooledVm
from hostd.ports import (
    Capabilities,
    CleanupCounts,
    Image,
    Isolation,
    Progress,
    ProgressSink,
    Template,
    Tier,
    VmRequest,
    VmSize,
)
from hostd.templates.store import TemplateStore

SAMPLE_S = 5.0
MEMORY_STEP_MIB = 128
DISK_STEP_MIB = 1024

log = logging.getLogger(__name__)


class VmLayer:
    """One per hostd. Nothing but `recover` may come before `open`."""

    drivers: Sequence[str] = (QemuDriver.name,)
    capabilities: Capabilities = QemuDriver.capabilities

    def __init__(self, config: PoolConfig) -> None:
        self.isolation = Isolation.TCG
        self.warnings: Sequence[str] = ()
        self._config = config
        self._cgroups = Cgroups.of_machine(config.scope)
        self._uids = Uids(config.uid_base)
        self._slots = Slots(config.scope, config.vms, Disks(config.disks), self._cgroups, self._uids)
        self._reaper = Reaper(self._slots)
        self._images = ImageStore(config.images, config.runtime)
        self._templates = TemplateStore(config.templates)
        self._vms: dict[str, PooledVm] = {}
        self._pending: list[VmSize] = []
        self._stock: Stock | None = None
        self._adopted: list[Unit] = []
        self._unwritten: asyncio.Queue[PooledVm] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def recover(self) -> Sequence[PooledVm]:
        self._prepare()
        for folder in sorted(self._config.vms.glob("vm_*")):
            try:
                found = await adopt(folder, self._config.scope, QemuDriver.recover)
            except (DamagedStateError, VmLostError, OSError) as error:
                log.warning("VM %s is not adopted: %s", folder.name, error)
                continue
            self._slots.adopt(found.unit.slot)
            self._adopted.append(found.unit)
            self._vms[folder.name] = PooledVm.adopted(found.unit, found.about, found.state, self._release)
        counts = await self.cleanup()
        for detail in counts.details:
            log.info("after the restart: %s", detail)
        return self.vms()

    async def open(self, progress: ProgressSink) -> None:
        self._prepare()
        config = self._config
        image = await self._images.open(config.prepare, progress)
        driver, remarks = await choose(config.accel, image, self._slots.lend, config.probe, progress)
        self.isolation = driver.isolation
        self.warnings = (*remarks, *self._cgroups.warnings)
        self._stock = Stock(config, driver, self._slots, self._reaper, active=self._active, ended=self._unit_ended)
        for unit in self._adopted:
            self._stock.watch(unit, None)
        self._stock.open()
        try:
            if not config.cold:
                await self._stock.shelf(image, self._size(config.prepare, VmSize()), progress)
        except TemplateError as error:
            self.warnings = (*self.warnings, f"VMs boot cold: {error}")
        self._tasks = [asyncio.create_task(work(), name=work.__name__) for work in (self._sample, self._persist)]

    async def acquire(self, request: VmRequest) -> PooledVm:
        began = time.monotonic_ns()
        stock = self._opened()
        name = request.image or self._config.prepare
        size = self._size(name, request.size)
        self._expect_room(size)
        shelf = stock.get((name, size))
        taken = stock.take(shelf) if shelf is not None else None
        if taken is None:
            taken = await self._acquire_slowly(stock, name, size)
        vm = PooledVm(taken[0], replace(request, image=name), taken[1], self._release, began_ns=began)
        self._vms[vm.id] = vm
        self._unwritten.put_nowait(vm)
        return vm

    @property
    def waiting(self) -> tuple[int, int]:
        """VMs that nobody has taken: paused and restored, spawned."""
        return self._opened().waiting()

    async def drain(self) -> None:
        """Wait until every stopped VM is taken down."""
        await self._reaper.drain()

    def vms(self) -> Sequence[PooledVm]:
        return tuple(self._vms.values())

    def images(self) -> Sequence[Image]:
        return self._images.images()

    def templates(self) -> Sequence[Template]:
        return self._templates.templates()

    async def build_image(self, name: str, progress: ProgressSink) -> None:
        await self._images.build(name or self._config.prepare, progress)

    async def bake(self, image: str, size: VmSize, progress: ProgressSink) -> None:
        name = image or self._config.prepare
        stock = self._opened()
        await stock.shelf(await self._images.open(name, progress), self._size(name, size), progress)
        progress(Progress(1.0, "template is ready"))

    async def verify(self, digest: str, progress: ProgressSink) -> None:
        faults = await self._templates.verify(digest)
        if faults:
            raise DamagedStateError("; ".join(faults))
        progress(Progress(1.0, "every template is what its manifest says"))

    async def cleanup(self) -> CleanupCounts:
        config = self._config
        known = self._slots.live | self._vms.keys()
        counts = await orphans.remove(config.scope, known, config.vms, self._cgroups, self._slots)
        folders = (config.images, config.images / "base", config.templates, config.disks)
        stale = await asyncio.to_thread(orphans.unfinished, folders, time.time())
        evicted = await asyncio.to_thread(self._evict)
        return counts + CleanupCounts(files=len(stale), details=stale) + evicted

    def _evict(self) -> CleanupCounts:
        """What other hosts of this machine use of a shared cache, their own cleanups have marked as used lately."""
        config = self._config
        paths = [*config.images.glob("*-*/"), *config.templates.glob("[0-9a-f]*/")]
        in_use = self._images.held() | {config.templates / name for name in self._in_stock()}
        evicted = evict(paths, config.cache_budget_mib, in_use)
        return CleanupCounts(cached=len(evicted.entries), freed_bytes=evicted.freed_bytes, details=evicted.details)

    def _in_stock(self) -> set[str]:
        return self._stock.digests() if self._stock is not None else set()

    async def close(self, *, keep_vms: bool) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not keep_vms:
            for vm in self.vms():
                await vm.stop()
        if self._stock is not None:
            await self._stock.close()
            self._stock = None
        await self._reaper.drain()
        for vm in self.vms():
            vm.unit.vmm.close()
            await self._slots.leave(vm.unit.slot)
        self._images.close()
        self._uids.close()
        self._cgroups.close()

    def _prepare(self) -> None:
        if not self._config.vms.is_dir() or not self._cgroups.is_open:
            self._config.vms.mkdir(parents=True, exist_ok=True)
            self._cgroups.open()

    def _opened(self) -> Stock:
        if self._stock is None:
            raise HostStoppingError("this host is not taking work")
        return self._stock

    def _active(self) -> int:
        return len(self._vms) + len(self._pending)

    def _size(self, name: str, asked: VmSize) -> VmSize:
        default = self._images.default_size(name)
        return VmSize(
            asked.vcpus or default.vcpus,
            resolve(asked.memory_mib, default.memory_mib, MEMORY_STEP_MIB),
            resolve(asked.disk_mib, default.disk_mib, DISK_STEP_MIB),
        )

    def _expect_room(self, size: VmSize) -> None:
        if self._active() >= self._config.max_vms:
            raise HostFullError(f"all {self._config.max_vms} VMs of this host are in use")
        promised = sum(vm.size.memory_mib for vm in self._vms.values()) + sum(s.memory_mib for s in self._pending)
        if promised + size.memory_mib > self._config.max_memory_mib:
            raise HostFullError(f"{size.memory_mib} MiB of memory are not free on this host")

    async def _acquire_slowly(self, stock: Stock, name: str, size: VmSize) -> tuple[Unit, Tier]:
        """From the template on demand, else by a cold boot."""
        self._pending.append(size)
        try:
            image = await self._images.open(name, _to_log)
            unit, tier = await self._make(stock, image, size)
        finally:
            self._pending.remove(size)
        stock.watch(unit, None)
        return unit, tier

    async def _make(self, stock: Stock, image: OpenImage, size: VmSize) -> tuple[Unit, Tier]:
        if self._config.cold:
            return await stock.boot(image, size), Tier.T2
        try:
            shelf = await stock.shelf(image, size, _to_log)
        except TemplateError as error:
            log.warning("cold boot instead of a template: %s", error)
            return await stock.boot(image, size), Tier.T2
        return stock.take(shelf) or (await stock.spawn(shelf.sealed), Tier.T1S)

    async def _persist(self) -> None:
        """Off the acquire path; a VM without a handle is ended by the next hostd, not forgotten."""
        while True:
            vm = await self._unwritten.get()
            await failpoint("handle_before_save")
            with suppress(ProcessLookupError, FileNotFoundError):
                handle.save(vm.unit.slot.folder, vm.handle(self._opened().handle(vm.unit)))
            await failpoint("handle_after_save")

    def _release(self, vm: PooledVm) -> None:
        if self._vms.pop(vm.id, None) is not None:
            self._reaper.take(vm.unit)
            if self._stock is not None:
                self._stock.refill()

    def _unit_ended(self, unit: Unit, reason: str) -> None:
        vm = self._vms.get(unit.slot.vm_id)
        if vm is not None:
            vm.ended(reason)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            for vm in self.vms():
                vm.record(await asyncio.to_thread(vm.sample))


def _to_log(progress: Progress) -> None:
    log.info("%3.0f %% %s", 100 * progress.fraction, progress.message)
