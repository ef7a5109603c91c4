"""A real control plane in a process of its own, and what it costs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swarm_sdk.client import Client
from swarm_sdk.types import HostState

READY_S = 30.0
STOP_S = 20.0
LOOK_S = 0.05
ONLINE = HostState.HOST_STATE_ONLINE
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Control:
    """`state` is its state directory, `pid` that of the process."""

    state: Path
    pid: int

    def token(self, host: str) -> str:
        return (self.state / "hosts" / f"{host}.token").read_text().strip()

    @property
    def socket(self) -> Path:
        return self.state / "controlplane.sock"

    @property
    def database(self) -> Path:
        return self.state / "controlplane.db"


@contextmanager
def control_plane(hosts: Sequence[str], *options: str) -> Iterator[Control]:
    """Started in a directory that is gone at the end; `Client.ready` says when it answers."""
    with tempfile.TemporaryDirectory(prefix="swarm-bench-") as folder:
        state = Path(folder) / "state"
        settings = ("--state-dir", str(state), "--hosts", ",".join(hosts), "--rate-limit-admin", "10000000")
        command = [sys.executable, "-m", "controlplane", *settings, "--log-level", "warning", *options]
        process = subprocess.Popen(command)
        try:
            yield Control(state, process.pid)
        finally:
            process.terminate()
            process.wait(STOP_S)


async def wait_until_ready(control: Control) -> None:
    """RuntimeError when it does not come up."""
    probe = Client(f"unix:{control.socket}", "none")
    try:
        if not await probe.ready(READY_S):
            raise RuntimeError(f"no control plane at {control.socket} within {READY_S:.0f} s")
    finally:
        await probe.close()


async def wait_for_hosts(client: Client, names: Sequence[str]) -> None:
    """RuntimeError when they do not all attach."""
    try:
        async with asyncio.timeout(READY_S):
            while not set(names) <= {host.name for host in await client.hosts.list() if host.state == ONLINE}:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise RuntimeError(f"not all of {len(names)} hosts attached within {READY_S:.0f} s") from None


def cpu_s(pid: int) -> float:
    """Processor time that the process used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20
