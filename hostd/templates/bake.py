"""Bakes a template: boot, warm up, save, and prove by a restore that it comes back."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from ext import snapshot
from hostd.drivers.port import Driver, Slot, Vmm
from hostd.errors import HostError, TemplateError
from hostd.images.store import OpenImage
from hostd.ports import Progress, ProgressSink, VmSize
from hostd.templates.doorbell import Doorbell
from hostd.templates.manifest import VERSION, Content, Identity, Manifest
from hostd.templates.store import Sealed, TemplateStore, measure

ATTEMPTS = 3
WARM_UPS = 3
QUIET_S = 0.4
BOOT_S = 60.0
"""Deadline of one boot; now and then one hangs before the kernel's first line."""
RESUME_MS = 5000
MIB = 1 << 20

Lend = Callable[[VmSize], AbstractAsyncContextManager[Slot]]
"""A slot for the length of a ``async with``."""


class Baker:
    """Makes templates with one driver, in slots that are lent to it."""

    def __init__(self, driver: Driver, store: TemplateStore, lend: Lend, *, boot_s: float = BOOT_S) -> None:
        self._driver = driver
        self._store = store
        self._lend = lend
        self._boot_s = boot_s

    def identity(self, image: OpenImage, size: VmSize) -> Identity:
        driver = self._driver
        return Identity(
            image.manifest.name,
            image.digest,
            driver.name,
            driver.version,
            driver.machine,
            driver.cpu_class,
            size.vcpus,
            size.memory_mib,
            size.disk_mib,
        )

    async def bake(self, image: OpenImage, size: VmSize, progress: ProgressSink) -> Sealed:
        """A new template, published and sealed. `TemplateError` when `ATTEMPTS` boots failed."""
        reason: Exception | None = None
        for attempt in range(1, ATTEMPTS + 1):
            scratch = self._store.scratch()
            try:
                return await self._attempt(image, size, scratch, progress)
            except (HostError, TimeoutError) as error:
                reason = error
                progress(Progress(0.0, f"bake {attempt} of {ATTEMPTS} failed: {_text(error)}"))
            finally:
                await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
        raise TemplateError(f"no template of image {image.manifest.name} could be baked: {_text(reason)}") from reason

    async def _attempt(self, image: OpenImage, size: VmSize, scratch: Path, progress: ProgressSink) -> Sealed:
        memory, state = await self._record(image, size, scratch, progress)
        manifest = Manifest(VERSION, self.identity(image, size), memory, state, (), time.time_ns())
        progress(Progress(0.8, "sealing"))
        path = self._store.publish(scratch, manifest)
        sealed = await self._store.open(path, image)
        try:
            progress(Progress(0.9, "proving that it restores"))
            touched = await self._prove(sealed, size)
        except BaseException:
            sealed.close()
            self._store.remove(path)
            raise
        manifest = replace(manifest, working_set=touched)
        self._store.annotate(path, manifest)
        progress(Progress(1.0, "template is ready"))
        return replace(sealed, manifest=manifest)

    async def _record(
        self, image: OpenImage, size: VmSize, scratch: Path, progress: ProgressSink
    ) -> tuple[Content, Content]:
        """Boot with shared memory, warm up, save both parts into `scratch`."""
        length = size.memory_mib * MIB
        memory = os.memfd_create("swarm-bake", os.MFD_CLOEXEC)
        try:
            os.ftruncate(memory, length)
            async with self._lend(size) as slot:
                progress(Progress(0.05, "booting the guest"))
                async with _running(await self._driver.boot(slot, image, memory=memory)) as vmm:
                    await self._warm(vmm, slot, progress)
                    progress(Progress(0.6, "saving memory and devices"))
                    with (scratch / "state").open("wb") as file:
                        await vmm.save(file.fileno())
            with (scratch / "memory").open("wb") as file:
                sha256 = await asyncio.to_thread(snapshot.save, memory, length, file.fileno())
        finally:
            os.close(memory)
        return Content(sha256.hex(), length), measure(scratch / "state")

    async def _warm(self, vmm: Vmm, slot: Slot, progress: ProgressSink) -> None:
        """Walk the path of a restored VM: imports, page cache and sockets are warm in every copy then."""
        with Doorbell(slot.net) as bell:
            async with asyncio.timeout(self._boot_s):
                await vmm.resume()
                for turn in range(WARM_UPS):
                    await bell.wake()
                    progress(Progress(0.4 + 0.05 * turn, f"warm-up {turn + 1} of {WARM_UPS}"))
                await bell.quiet(QUIET_S)

    async def _prove(self, sealed: Sealed, size: VmSize) -> tuple[tuple[int, ...], ...]:
        """Restore once up to the first request. Returns the memory ranges that it touched."""
        async with self._lend(size) as slot, _running(await self._driver.spawn(slot, sealed)) as vmm:
            with Doorbell(slot.net) as bell:
                async with asyncio.timeout(self._boot_s):
                    await vmm.restore()
                    await asyncio.to_thread(vmm.resume_now, RESUME_MS)
                    await bell.wake()
            inode, length = os.fstat(sealed.memory).st_ino, size.memory_mib * MIB
            return tuple(await asyncio.to_thread(snapshot.working_set, vmm.pid, inode, length))


async def boots(driver: Driver, image: OpenImage, size: VmSize, lend: Lend, deadline_s: float) -> str:
    """Why `driver` cannot boot `image` up to a call of its runtime within the deadline; empty: it can."""
    try:
        async with lend(size) as slot, _running(await driver.boot(slot, image)) as vmm:
            with Doorbell(slot.net) as bell:
                async with asyncio.timeout(deadline_s):
                    await vmm.resume()
                    await bell.wake()
    except TimeoutError:
        return f"the guest did not come up within {deadline_s:g} s"
    except HostError as error:
        return str(error)
    return ""


@asynccontextmanager
async def _running(vmm: Vmm) -> AsyncIterator[Vmm]:
    """Ends the VMM in any case, and turns its death into the error of the body."""
    try:
        yield vmm
    finally:
        vmm.kill()
        await vmm.exited()
        vmm.close()


def _text(error: Exception | None) -> str:
    return "the guest did not come up in time" if isinstance(error, TimeoutError) else str(error)
