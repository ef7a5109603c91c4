"""One simulated VM: a listener on loopback, and behind it a script in process or the real guest runtime."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hostd import record
from hostd.drivers.sim import process
from hostd.drivers.sim.pings import answering
from hostd.drivers.sim.script import Player, parse
from hostd.drivers.sim.settings import SimSettings
from hostd.errors import VmLostError
from hostd.ports import BootTiming, Tier, VmSample, VmSize, VmState
from hostd.statedir import write_atomic

SAMPLES = 512
RING_S = 0.2
CONSOLE_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Handle:
    """What finds the VM again after a restart of hostd; `pid` 0: played in process, gone with hostd."""

    vm_id: str
    attempt_id: str
    image: str
    template: str
    size: VmSize
    created_ns: int
    port: int
    bell: int
    pid: int = 0
    start_ticks: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """What the dice said about one VM."""

    fails_to_boot: bool = False
    dies_after_s: float | None = None


def listen(port: int = 0) -> socket.socket:
    """A listening socket on loopback."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    listener.settimeout(0.0)
    return listener


def doorbell(port: int) -> socket.socket:
    """A datagram socket that rings at `port` of loopback."""
    bell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bell.settimeout(0.0)
    bell.connect(("127.0.0.1", port))
    return bell


class SimVm:
    """See `hostd.ports.Vm`."""

    driver = "sim"
    tier = Tier.T1

    def __init__(
        self,
        handle: Handle,
        listener: socket.socket,
        folder: Path,
        settings: SimSettings,
        *,
        fate: Fate,
        stopped: Callable[[SimVm], None],
        adopted: bool = False,
    ) -> None:
        self.handle = handle
        self.state = VmState.RUNNING if adopted else VmState.STARTING
        self._folder = folder
        self._settings = settings
        self._fate = fate
        self._stopped = stopped
        self._listener = listener
        self._bell = doorbell(handle.bell)
        self._running = asyncio.Event()
        self._player = Player(handle.port, self._running)
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._samples: list[VmSample] = []
        if adopted:
            self._running.set()
            self._begin(self._watch())

    @property
    def id(self) -> str:
        return self.handle.vm_id

    @property
    def attempt_id(self) -> str | None:
        return self.handle.attempt_id or None

    @property
    def image(self) -> str:
        return self.handle.image

    @property
    def template(self) -> str:
        return self.handle.template

    @property
    def size(self) -> VmSize:
        return self.handle.size

    @property
    def created_ns(self) -> int:
        return self.handle.created_ns

    @property
    def listener(self) -> int:
        return self._listener.fileno()

    @property
    def doorbell(self) -> int:
        return self._bell.fileno()

    @property
    def broker_url(self) -> str:
        return f"http://127.0.0.1:{self.handle.port}"

    @property
    def _process(self) -> process.Process | None:
        return process.Process(self.handle.pid, self.handle.start_ticks) if self.handle.pid else None

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def start(self) -> BootTiming:
        begun = time.monotonic_ns()
        await asyncio.sleep(self._settings.boot_ms / 1000)
        if self._fate.fails_to_boot:
            await self.stop()
            raise VmLostError("simulated failure to boot")
        self.state = VmState.RUNNING
        self._running.set()
        if self.attempt_id:
            self._begin(self._live())
        if self._fate.dies_after_s is not None:
            self._begin(self._die(self._fate.dies_after_s))
        boot_us = (time.monotonic_ns() - begun) // 1000
        return BootTiming(self.tier, boot_us + int(self._settings.acquire_ms * 1000))

    async def _live(self) -> None:
        """Play the script, or hand over to the guest runtime."""
        work = await self._player.work()
        wanted = work.get("input", {})
        if "sim" not in wanted and not self._settings.instant:
            await self._spawn()
            return
        steps = [str(step["name"]) for step in work.get("steps", ())]
        script = parse(wanted.get("sim"), self._settings.run_ms)
        with contextlib.nullcontext() if script.mute else answering(self.handle.bell, self._player.pong):
            if not await self._player.play(script, steps):
                self._end("simulated death")

    async def _spawn(self) -> None:
        found = await process.spawn(self._folder, self.handle.port, self.handle.bell)
        self.handle = replace(self.handle, pid=found.pid, start_ticks=found.start_ticks)
        write_atomic(self._folder / "handle.json", record.encode(self.handle))
        self._begin(self._watch())
        await self._ring()

    async def _ring(self) -> None:
        """The broker's bell fell silent when the work was read in process; the runtime still waits for one."""
        for _ in range(int(10 / RING_S)):
            with contextlib.suppress(OSError):  # nobody listens yet
                self._bell.send(b"\1")
            await asyncio.sleep(RING_S)

    async def _watch(self) -> None:
        assert self._process
        await process.ended(self._process)
        self._end("the simulated guest ended")

    async def _die(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if self._process:
            process.kill_tree(self._process)
        self._end("simulated death")

    def _end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)

    async def pause(self) -> None:
        if self._ended.done() or self.state is VmState.STOPPED:
            raise VmLostError("the VM is gone")
        self.state = VmState.PAUSED
        self._running.clear()
        if self._player.clock:
            self._player.clock.pause()
        if self._process:
            process.signal_tree(self._process, signal.SIGSTOP)

    async def resume(self) -> None:
        if self._ended.done() or self.state is VmState.STOPPED:
            raise VmLostError("the VM is gone")
        self.state = VmState.RUNNING
        self._running.set()
        if self._player.clock:
            self._player.clock.resume()
        if self._process:
            process.signal_tree(self._process, signal.SIGCONT)

    async def stop(self) -> None:
        if self.state is VmState.STOPPED:
            return
        self.state = VmState.STOPPED
        await self.leave()
        if self._process:
            process.kill_tree(self._process)
            await asyncio.to_thread(process.kill_strays, self._folder)
        self._end("stopped")
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._stopped(self)

    async def leave(self) -> None:
        """Give up what is held here; a guest process lives on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()
        self._bell.close()

    async def died(self) -> str:
        return await asyncio.shield(self._ended)

    def sample(self) -> VmSample:
        now = time.time_ns()
        taken = process.sample(self._process, now) if self._process else VmSample(now, 0.0, 0, 0, 0, 0)
        self._samples = [*self._samples[-SAMPLES + 1 :], taken]
        return taken

    def samples(self) -> Sequence[VmSample]:
        return tuple(self._samples)

    async def console(self) -> AsyncIterator[bytes]:
        position, log = 0, self._folder / "console.log"
        while self.state is not VmState.STOPPED:
            data = await asyncio.to_thread(_read_from, log, position)
            if data:
                position += len(data)
                yield data
            else:
                await asyncio.sleep(CONSOLE_POLL_S)

    def type(self, data: bytes) -> None:
        """A simulated guest reads no keys."""


def _read_from(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(position)
            return file.read(32 << 10)
    except FileNotFoundError:
        return b""
