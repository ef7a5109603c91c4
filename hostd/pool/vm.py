"""A VM that somebody has taken: the pool's implementation of `hostd.ports.Vm`."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from hostd import network
from hostd.drivers.port import VmmHandle
from hostd.drivers.qemu.driver import QemuDriver
from hostd.errors import VmLostError, WrongStateError
from hostd.pool import handle
from hostd.pool.handle import Handle
from hostd.pool.unit import Unit
from hostd.ports import BootTiming, Tier, VmRequest, VmSample, VmState
from hostd.templates.doorbell import Doorbell

RESUME_MS = 20
"""How long the event loop waits for a resume, which takes a third of a millisecond, before it waits on the side."""
SAMPLES = 720
BOOT_S = 60

Release = Callable[["PooledVm"], None]


class PooledVm:
    """One VM for one attempt. `release` is told once, when it is over; `began_ns` is when the acquire began."""

    driver = QemuDriver.name

    def __init__(self, unit: Unit, request: VmRequest, tier: Tier, release: Release, *, began_ns: int = 0) -> None:
        slot = unit.slot
        self.unit = unit
        self.id = slot.vm_id
        self.attempt_id = request.attempt_id
        self.image = request.image
        self.size = slot.size
        self.template = unit.sealed.digest if unit.sealed else ""
        self.tier = tier
        self.state = VmState.STARTING
        self.created_ns = time.time_ns()
        self._release = release
        self._death: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._samples: deque[VmSample] = deque(maxlen=SAMPLES)
        self._lock = asyncio.Lock()
        self._ringer: asyncio.Task[None] | None = None
        self._acquire_ns = time.monotonic_ns() - began_ns if began_ns else 0

    @classmethod
    def adopted(cls, unit: Unit, about: Handle, state: VmState, release: Release) -> PooledVm:
        """A VM of an earlier hostd, as its handle describes it."""
        vm = cls(unit, VmRequest(about.image, about.size, about.attempt_id or None), about.tier, release)
        vm.template, vm.state, vm.created_ns = about.template, state, about.created_ns
        return vm

    @property
    def broker_url(self) -> str:
        """Where the guest finds its broker."""
        return f"http://{network.HOST_IP}:{network.PORT}"

    @property
    def listener(self) -> int:
        return self.unit.slot.net.listener

    @property
    def doorbell(self) -> int:
        return self.unit.slot.net.doorbell

    async def start(self) -> BootTiming:
        if self.state is not VmState.STARTING:
            raise WrongStateError(f"VM {self.id} was started before")
        began = time.monotonic_ns()
        try:
            if self.tier in {Tier.T1, Tier.T1S}:
                await self.unit.vmm.restore()
            ended = await self._first_resume()
        except VmLostError:
            await self.stop()
            raise
        self.state = VmState.RUNNING
        if self.tier is Tier.T2:
            self._ringer = asyncio.create_task(self._ring_while_booting())
        return BootTiming(self.tier, (self._acquire_ns + ended - began) // 1000)

    async def pause(self) -> None:
        async with self._lock:
            self._expect_alive()
            if self.state is VmState.RUNNING:
                await self.unit.vmm.pause()
                self.state = VmState.PAUSED

    async def resume(self) -> None:
        async with self._lock:
            self._expect_alive()
            if self.state is VmState.PAUSED:
                await self.unit.vmm.resume()
                self.state = VmState.RUNNING

    async def stop(self) -> None:
        self._end()

    async def died(self) -> str:
        return await asyncio.shield(self._death)

    def ended(self, reason: str) -> None:
        """The process is gone by itself."""
        if self.state is not VmState.STOPPED:
            self._death.set_result(reason)
            self._end()

    def handle(self, vmm: VmmHandle) -> Handle:
        """What adopts this VM after a restart of hostd."""
        return Handle(
            version=handle.VERSION,
            vm_id=self.id,
            attempt_id=self.attempt_id or "",
            image=self.image,
            template=self.template,
            size=self.size,
            uid=self.unit.slot.uid,
            tier=self.tier,
            created_ns=self.created_ns,
            driver=self.driver,
            vmm=vmm,
        )

    def sample(self) -> VmSample:
        return self.unit.vmm.sample()

    def samples(self) -> Sequence[VmSample]:
        return tuple(self._samples)

    def record(self, sample: VmSample) -> None:
        self._samples.append(sample)

    async def console(self) -> AsyncIterator[bytes]:
        async for data in self.unit.vmm.console.read():
            yield data

    def type(self, data: bytes) -> None:
        self.unit.vmm.console.type(data)

    async def _first_resume(self) -> int:
        """Monotonic nanoseconds of the moment when the VMM said that it runs."""
        vmm = self.unit.vmm
        if self.tier is not Tier.T2:
            try:
                return vmm.resume_now(RESUME_MS)
            except TimeoutError:
                pass  # a busy machine; asked twice, it runs all the same
            except OSError as error:
                raise VmLostError(f"VM {self.id} could not be resumed: {error.strerror}") from error
        await vmm.resume()
        return time.monotonic_ns()

    async def _ring_while_booting(self) -> None:
        """A guest that boots cold may come up after its broker stopped ringing; being rung twice does no harm."""
        with Doorbell(self.unit.slot.net) as bell:
            for _ in range(BOOT_S):
                await asyncio.sleep(1)
                bell.ring()

    def _expect_alive(self) -> None:
        if self.state is VmState.STOPPED:
            raise VmLostError(f"VM {self.id} is gone")

    def _end(self) -> None:
        if self.state is not VmState.STOPPED:
            self.state = VmState.STOPPED
            if self._ringer is not None:
                self._ringer.cancel()
            self._release(self)
