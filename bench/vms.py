"""What the benches with real VMs share: hosts with a pool for one tier each, and the wait for a guest's first byte."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from hostd import network
from hostd.pool.config import PoolConfig
from hostd.pool.layer import VmLayer
from hostd.pool.marks import Marks
from hostd.pool.vm import PooledVm

POLL_S = 0.01
SETTLE_S = 0.1
RING_S = 1.0
READY_S = 120.0


def cache() -> Path:
    """Where the image and its template are kept from run to run."""
    return Path(os.environ.get("SWARM_TEST_CACHE") or ".cache/test").absolute()


@asynccontextmanager
async def host(name: str, marks: Marks, *, cold: bool = False, max_vms: int = 8) -> AsyncIterator[VmLayer]:
    """A VM layer of its own that holds `marks` in stock."""
    with tempfile.TemporaryDirectory(prefix="swarm-bench-") as folder:
        config = PoolConfig(
            Path(folder),
            instance=name,
            uid_base=95000,
            max_vms=max_vms,
            max_memory_mib=1 << 30,  # templates are shared: fifty small guests fit where their promises do not
            marks=marks,
            cold=cold,
            cache_dir=cache(),
        )
        layer = VmLayer(config)
        await layer.recover()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(layer.close, keep_vms=False)
            await layer.open(lambda _: None)
            yield layer


async def stocked(layer: VmLayer, wanted: tuple[int, int]) -> None:
    """Wait until the pool is full and quiet."""
    await layer.drain()
    while layer.waiting < wanted:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    await asyncio.sleep(SETTLE_S)


async def first_byte(vm: PooledVm) -> int:
    """Wake the guest; monotonic nanoseconds of the first byte of its request."""
    loop = asyncio.get_running_loop()
    with (
        socket.socket(fileno=os.dup(vm.listener)) as listener,
        socket.socket(fileno=os.dup(vm.doorbell)) as bell,
    ):
        ringing = asyncio.create_task(ring(bell))
        try:
            async with asyncio.timeout(READY_S):
                connection, _ = await loop.sock_accept(listener)
                with connection:
                    await loop.sock_recv(connection, 1)
                    return time.monotonic_ns()
        finally:
            ringing.cancel()


async def ring(bell: socket.socket) -> None:
    while True:
        bell.sendto(b"wake", (network.GUEST_IP, network.DOORBELL))
        await asyncio.sleep(RING_S)


def own_cpu_ms() -> float:
    """CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1e3
