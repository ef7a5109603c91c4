"""A VMM process as the kernel shows it: identity, end, usage."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path

from hostd.errors import VmLostError
from hostd.ports import VmSample

_TICKS = os.sysconf("SC_CLK_TCK")
_CPU_FIELDS = (11, 12)  # utime and stime, counted behind the command's name
_START_FIELD = 19


def boot_id() -> str:
    """Changes with each boot of the machine, as pids and start times do."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int:
    """When the process began, in clock ticks since boot. `ProcessLookupError` when there is none."""
    return int(_stat(pid)[_START_FIELD])


def sample(pid: int) -> VmSample:
    """Usage of process `pid` since it began; zeros once it is gone."""
    try:
        cpu = sum(int(_stat(pid)[field]) for field in _CPU_FIELDS) / _TICKS
        memory = _fields(pid, "smaps_rollup")
        disk = _fields(pid, "io")
    except (OSError, ValueError):
        return VmSample(time.time_ns(), 0.0, 0, 0, 0, 0)
    return VmSample(
        time.time_ns(),
        cpu,
        memory.get("Rss", 0) * 1024,
        memory.get("Private_Dirty", 0) * 1024,
        disk.get("read_bytes", 0),
        disk.get("write_bytes", 0),
    )


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except FileNotFoundError as error:
        raise ProcessLookupError(f"no process {pid}") from error
    return text.rpartition(")")[2].split()


def _fields(pid: int, name: str) -> dict[str, int]:
    """The ``Key: value`` lines of a /proc file whose value is a number."""
    lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key: int(words[0]) for key, _, value in pairs if (words := value.split()) and words[0].isdigit()}


class Process:
    """Supervises one process, a child or not, by its pidfd, which it owns."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._loop.add_reader(pidfd, self._collect)

    @classmethod
    def adopt(cls, pid: int, ticks: int) -> Process:
        """The running process `pid` that began at `ticks`. `VmLostError` when it is another or none."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            raise VmLostError(f"process {pid} is gone") from error
        # Checked after the descriptor pins the process, so that the pid cannot change hands in between.
        with suppress(ProcessLookupError):
            if start_ticks(pid) == ticks:
                return cls(pid, pidfd)
        os.close(pidfd)
        raise VmLostError(f"process {pid} is gone")

    @property
    def alive(self) -> bool:
        return not self._ended.done()

    async def exited(self) -> str:
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        if self.alive:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Stop watching; a child that has ended already is reaped."""
        if self._pidfd < 0:
            return
        if self.alive and select.select([self._pidfd], [], [], 0)[0]:
            self._collect()
        if self.alive:
            self._loop.remove_reader(self._pidfd)
            self._ended.cancel()
        os.close(self._pidfd)
        self._pidfd = -1

    def _collect(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._ended.set_result(self._reason())

    def _reason(self) -> str:
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return "the VMM ended"
        if result is not None and result.si_code != os.CLD_EXITED:
            return f"the VMM was killed by {signal.Signals(result.si_status).name}"
        return f"the VMM exited with status {result.si_status if result else 0}"
