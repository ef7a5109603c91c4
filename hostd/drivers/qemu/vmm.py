"""One QEMU process: restore, resume, pause, save, snapshot, and its end."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from ext import vmpool
from hostd.drivers.process import Process, sample
from hostd.drivers.qemu.console import SerialConsole
from hostd.drivers.qemu.qmp import Qmp, QmpError
from hostd.ports import VmSample

MIGRATE_S = 120.0
_WORDS = 4096


class QemuVmm:
    """Implements `hostd.drivers.port.Vmm`. `log` is the reading end of its standard error, or -1."""

    def __init__(self, process: Process, qmp: Qmp, console: SerialConsole, *, log: int = -1, state: int = -1) -> None:
        self.process = process
        self.console = console
        self._qmp = qmp
        self._log = log
        self._state = state

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def control(self) -> int:
        return self._qmp.fd

    async def prepare(self, *, ignore_shared: bool) -> None:
        """All that restoring needs and can be said ahead of time."""
        await self._capabilities({"x-ignore-shared": ignore_shared, "events": True})
        # The guest's address is known to its only neighbour; announcing it would hold up the first moments.
        await self._qmp.execute("migrate-set-parameters", {"announce-rounds": 0})
        await self._qmp.execute("getfd", {"fdname": "state"}, fd=self._state)
        await self._qmp.begin("migrate-incoming", {"uri": "fd:state"})

    async def restore(self) -> None:
        await self._qmp.finish_until("MIGRATION", "completed", MIGRATE_S)
        await self._qmp.begin("cont")

    def resume_now(self, timeout_ms: int) -> int:
        return vmpool.resume(self._qmp.fd, self._qmp.rest(), timeout_ms)

    async def resume(self) -> None:
        await (self._qmp.finish() if self._qmp.begun else self._qmp.execute("cont"))

    async def pause(self) -> None:
        await self._qmp.execute("stop")

    async def running(self) -> bool:
        """Whether its vCPUs run; also the proof that it answers."""
        return await self._status() == "running"

    async def save(self, state: int) -> None:
        await self._migrate(state, ignore_shared=True)

    async def snapshot(self, target: int) -> None:
        await self._migrate(target, ignore_shared=False)

    async def exited(self) -> str:
        reason = await self.process.exited()
        words = self._last_words()
        return f"{reason}: {words}" if words else reason

    def sample(self) -> VmSample:
        return sample(self.pid)

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        self._qmp.close()
        self.console.close()
        self.process.close()
        for fd in (self._log, self._state):
            if fd >= 0:
                os.close(fd)
        self._log = self._state = -1

    async def _migrate(self, target: int, *, ignore_shared: bool) -> None:
        await self.pause()
        await self._capabilities({"x-ignore-shared": ignore_shared})
        await self._qmp.execute("migrate-set-parameters", {"max-bandwidth": 1 << 40})
        await self._qmp.execute("getfd", {"fdname": "target"}, fd=target)
        await self._qmp.execute("migrate", {"uri": "fd:target"})
        async with asyncio.timeout(MIGRATE_S):
            while (status := await self._migration()) not in {"completed", "failed", "cancelled"}:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        if status != "completed":
            raise QmpError(f"the VMM could not save its state: {status}")

    async def _migration(self) -> str:
        answer: Any = await self._qmp.execute("query-migrate")
        return str(answer.get("status", "")) if isinstance(answer, dict) else ""

    async def _capabilities(self, states: dict[str, bool]) -> None:
        capabilities = [{"capability": name, "state": on} for name, on in states.items()]
        await self._qmp.execute("migrate-set-capabilities", {"capabilities": capabilities})

    async def _status(self) -> str:
        answer: Any = await self._qmp.execute("query-status")
        return str(answer.get("status", "")) if isinstance(answer, dict) else ""

    def _last_words(self) -> str:
        if self._log < 0:
            return ""
        try:
            text = os.read(self._log, _WORDS).decode(errors="replace")
        except OSError:
            return ""
        return " | ".join(line for line in text.splitlines()[-3:] if line.isprintable())
