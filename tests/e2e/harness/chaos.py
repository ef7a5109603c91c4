"""Faults at random, from a seed: hosts are frozen past their lease and killed, the control plane is killed.

The seed fixes what is done and after which pauses; how far the processes got by then is the machine's.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tests.e2e.harness import inventory
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.history import History
from tests.e2e.harness.process import Process

Fault = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Mix:
    """Seconds, and relative weights of the kinds of fault. `frozen_s`: how long a host stands still, at most twice."""

    between_s: float = 2.0
    down_s: float = 2.0
    frozen_s: float = 10.0
    freeze: float = 1.0
    kill_host: float = 1.0
    kill_control: float = 0.5
    kill_vm: float = 0.0


class Chaos:
    """Does it to `hosts` and to the control plane; at most one host is frozen, while others are killed."""

    def __init__(
        self, deployment: Deployment, history: History, seed: int, mix: Mix, hosts: tuple[str, ...] | None = None
    ) -> None:
        self._deployment = deployment
        self._history = history
        self._random = random.Random(seed)
        self._mix = mix
        self._hosts = hosts if hosts is not None else tuple(deployment.hosts)
        self._frozen: asyncio.Task[None] | None = None
        self._name = ""

    async def run(self) -> None:
        """Until cancelled; then everybody runs again."""
        try:
            while True:
                await asyncio.sleep(self._random.expovariate(1 / self._mix.between_s))
                await self._one()
        finally:
            self._calm()

    async def _one(self) -> None:
        faults: Mapping[str, tuple[float, Fault]] = {
            "freeze": (self._mix.freeze, self._freeze),
            "kill_host": (self._mix.kill_host, self._kill_host),
            "kill_control": (self._mix.kill_control, self._kill_control),
            "kill_vm": (self._mix.kill_vm, self._kill_vm),
        }
        (name,) = self._random.choices(list(faults), [weight for weight, _ in faults.values()])
        await faults[name][1]()

    async def _freeze(self) -> None:
        name, frozen_s = self._random.choice(self._hosts), self._mix.frozen_s * self._random.uniform(0.5, 2)
        if self._frozen is None or self._frozen.done():
            self._name = name
            self._frozen = asyncio.create_task(self._hold(name, frozen_s))

    async def _hold(self, name: str, frozen_s: float) -> None:
        host = self._deployment.hosts[name]
        self._history.add("frozen", name, seconds=frozen_s)
        host.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(frozen_s)
        finally:
            host.signal(signal.SIGCONT)
            self._history.add("thawed", name)
            self._name = ""

    async def _kill_host(self) -> None:
        name = self._random.choice(self._hosts)
        if name != self._name:
            await self._kill(self._deployment.hosts[name], name)

    async def _kill_control(self) -> None:
        await self._kill(self._deployment.control, "controlplane")

    async def _kill_vm(self) -> None:
        """A process that is a VM dies; of those that wait to be used too."""
        folders = [path for name in self._hosts for path in self._deployment.host_dir(name).glob("vms/*")]
        if not folders:
            return
        folder = self._random.choice(sorted(folders))
        with suppress(OSError, ValueError):  # it ended by itself meanwhile
            pid = inventory.vm_pid(folder.parents[1], folder.name)
            if pid > 1:  # 0: it is played by its host's process
                os.kill(pid, signal.SIGKILL)
                self._history.add("killed_vm", folder.name)

    async def _kill(self, process: Process, name: str) -> None:
        self._history.add("killed", name)
        process.kill()
        await asyncio.sleep(self._random.uniform(0, self._mix.down_s))
        process.start()
        self._history.add("started", name)

    def _calm(self) -> None:
        if self._frozen is not None:
            self._frozen.cancel()
        for process in self._deployment.processes:
            if process.alive():
                process.signal(signal.SIGCONT)
            else:
                process.start()
        self._history.add("calm", "all")
