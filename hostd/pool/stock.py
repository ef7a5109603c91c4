"""The VMs that wait to be taken: one shelf per template, filled in the background between water marks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from hostd.drivers.port import Driver, VmmHandle
from hostd.errors import DamagedStateError, HostError
from hostd.failpoint import failpoint
from hostd.images.store import OpenImage
from hostd.pool.config import PoolConfig
from hostd.pool.marks import orders
from hostd.pool.reaper import Reaper
from hostd.pool.slots import Slots
from hostd.pool.unit import Shelf, Unit
from hostd.ports import Progress, ProgressSink, Tier, VmSize
from hostd.templates.bake import Baker
from hostd.templates.store import Sealed, TemplateStore

BUILDERS = 2
SETTLE_S = 0.02
"""Building starts this long after a VM was taken: its first moments are worth more."""
FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0

log = logging.getLogger(__name__)

Key = tuple[str, VmSize]
Ended = Callable[[Unit, str], None]


class Stock:
    """`active` counts the VMs that were taken; `ended` is told of the end of one of those."""

    def __init__(
        self,
        config: PoolConfig,
        driver: Driver,
        slots: Slots,
        reaper: Reaper,
        *,
        active: Callable[[], int],
        ended: Ended,
    ) -> None:
        self._config = config
        self._driver = driver
        self._slots = slots
        self._reaper = reaper
        self._active = active
        self._ended = ended
        self._store = TemplateStore(config.templates)
        self._baker = Baker(driver, self._store, slots.lend)
        self._shelves: dict[Key, Shelf] = {}
        self._makers: dict[Key, asyncio.Task[Shelf]] = {}
        self._builds: set[asyncio.Task[None]] = set()
        self._watchers: set[asyncio.Task[None]] = set()
        self._limit = asyncio.Semaphore(BUILDERS)
        self._wanted = asyncio.Event()
        self._rest = 0.0
        self._filler: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start filling."""
        self._filler = asyncio.create_task(self._fill(), name="pool-filler")

    def get(self, key: Key) -> Shelf | None:
        return self._shelves.get(key)

    async def shelf(self, image: OpenImage, size: VmSize, progress: ProgressSink) -> Shelf:
        """The shelf of a template, which is loaded or baked by the first who asks. `TemplateError`."""
        key = (image.manifest.name, size)
        if key in self._shelves:
            return self._shelves[key]
        if key not in self._makers:
            self._makers[key] = asyncio.create_task(self._make(image, size, progress), name="template-maker")
            self._makers[key].add_done_callback(lambda _: self._makers.pop(key))
        return await asyncio.shield(self._makers[key])

    def take(self, shelf: Shelf) -> tuple[Unit, Tier] | None:
        """The fastest VM on the shelf."""
        unit, tier = shelf.take_ready(), Tier.T0
        if unit is None:
            unit, tier = shelf.take_spawned(), Tier.T1
        if unit is None:
            return None
        self.refill()
        return unit, tier

    async def spawn(self, sealed: Sealed) -> Unit:
        """A VMM on demand, waiting to restore."""
        self._make_room()
        return await self._unit(sealed, sealed.manifest.identity.size)

    async def boot(self, image: OpenImage, size: VmSize) -> Unit:
        """A machine on demand, before its first instruction."""
        self._make_room()
        return await self._unit(image, size)

    def handle(self, unit: Unit) -> VmmHandle:
        return self._driver.handle(unit.vmm)

    def waiting(self) -> tuple[int, int]:
        """Counts of all shelves: ready, spawned."""
        stocks = [shelf.stock() for shelf in self._shelves.values()]
        return sum(stock.ready for stock in stocks), sum(stock.spawned for stock in stocks)

    def digests(self) -> set[str]:
        """Templates that VMs are made from."""
        return {shelf.sealed.digest for shelf in self._shelves.values()}

    def refill(self) -> None:
        self._wanted.set()

    def watch(self, unit: Unit, shelf: Shelf | None) -> None:
        """Act on the end of a unit, whoever has it then."""
        task = asyncio.create_task(self._watch(unit, shelf))
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def close(self) -> None:
        """Retire every VM that waits; those taken stay as they are."""
        tasks = [*self._builds, *self._makers.values(), *([self._filler] if self._filler else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for shelf in self._shelves.values():
            for unit in shelf.close():
                self._reaper.take(unit)
        await self._reaper.drain()
        for task in list(self._watchers):
            task.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        while self._shelves:
            self._shelves.popitem()[1].sealed.close()

    async def _make(self, image: OpenImage, size: VmSize, progress: ProgressSink) -> Shelf:
        sealed = await self._load(image, size, progress) or await self._baker.bake(image, size, progress)
        shelf = Shelf(sealed, self._config.marks, max(self._config.max_vms, 1))
        self._shelves[image.manifest.name, size] = shelf
        self.refill()
        return shelf

    async def _load(self, image: OpenImage, size: VmSize, progress: ProgressSink) -> Sealed | None:
        path = self._store.find(self._baker.identity(image, size))
        if path is None:
            return None
        try:
            progress(Progress(0.5, "verifying the template"))
            return await self._store.open(path, image)
        except DamagedStateError as error:
            log.warning("%s; baking it again", error)
            progress(Progress(0.0, f"{error}: baking it again"))
            await asyncio.to_thread(self._store.remove, path)
            return None

    async def _unit(self, source: Sealed | OpenImage, size: VmSize) -> Unit:
        slot = await self._slots.build(size)
        try:
            await failpoint("slot_after_network")
            if isinstance(source, Sealed):
                return Unit(slot, await self._driver.spawn(slot, source), source)
            return Unit(slot, await self._driver.boot(slot, source), None)
        except BaseException:
            await asyncio.shield(self._slots.drop([slot]))
            raise

    def _room(self) -> int:
        return self._config.max_vms - self._active() - sum(shelf.total for shelf in self._shelves.values())

    def _make_room(self) -> None:
        """A VM on demand displaces one that waits, from the fullest shelf, when the cap is reached."""
        shelf = max(self._shelves.values(), key=len, default=None)
        if self._room() < 0 and shelf is not None:
            unit = shelf.take_spawned() or shelf.take_ready()
            if unit is not None:
                self._reaper.take(unit)

    async def _fill(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(SETTLE_S + self._rest)
            self._wanted.clear()
            stocks = {key: shelf.stock() for key, shelf in self._shelves.items()}
            for key, order in orders(stocks, self._config.marks, self._room()).items():
                shelf = self._shelves[key]
                for _ in range(order.ready):
                    self._start_build(shelf, ready=True)
                for _ in range(order.spawned):
                    self._start_build(shelf, ready=False)

    def _start_build(self, shelf: Shelf, *, ready: bool) -> None:
        shelf.count_build(1, ready=ready)
        task = asyncio.create_task(self._build(shelf, ready=ready), name="pool-builder")
        self._builds.add(task)
        task.add_done_callback(self._builds.discard)
        task.add_done_callback(lambda _: shelf.count_build(-1, ready=ready))

    async def _build(self, shelf: Shelf, *, ready: bool) -> None:
        try:
            async with self._limit:
                await self._build_one(shelf, ready=ready)
            self._rest = 0.0
        except (HostError, OSError) as error:
            self._rest = min(max(2 * self._rest, FIRST_REST_S), LONGEST_REST_S)
            log.warning("a VM could not be made ready, next try in %g s: %s", self._rest, error)
            self.refill()

    async def _build_one(self, shelf: Shelf, *, ready: bool) -> None:
        unit = await self._unit(shelf.sealed, shelf.size)
        try:
            if ready:
                await unit.vmm.restore()
            await failpoint("vmm_after_restore")
        except BaseException:
            self._reaper.take(unit)
            raise
        self.watch(unit, shelf)
        if not shelf.offer(unit, ready=ready):
            self._reaper.take(unit)

    async def _watch(self, unit: Unit, shelf: Shelf | None) -> None:
        reason = await unit.vmm.exited()
        unit.ended = True
        if shelf is not None and shelf.withdraw(unit):
            log.warning("VM %s ended while it waited: %s", unit.slot.vm_id, reason)
            self._reaper.take(unit)
            self.refill()
        else:
            self._ended(unit, reason)
