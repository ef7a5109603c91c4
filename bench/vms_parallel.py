"""Eight real VMs at once, and the memory that each holds for itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import uvloop

from bench.measure import Row, figures
from bench.vms import first_byte, host, stocked
from hostd.pool.layer import VmLayer
from hostd.pool.marks import Marks
from hostd.pool.vm import PooledVm
from hostd.ports import VmRequest

NAME = "vms_parallel"
SUMMARY = "eight VMs at once: time to ready, private memory of each"

VMS = 8
IDLE_S = 2.0
MIB = 1 << 20
PEER = "cold boot"


@dataclass(frozen=True, slots=True)
class Eight:
    """Milliseconds to ready and private MiB of each VM: before it was resumed, and idle after its first request."""

    ready: list[float]
    waiting: list[float]
    idle: list[float]


async def eight(layer: VmLayer) -> Eight:
    began = time.monotonic_ns()
    vms = [await layer.acquire(VmRequest("default")) for _ in range(VMS)]
    waiting = [private(vm) for vm in vms]

    async def ready(vm: PooledVm) -> float:
        await vm.start()
        return (await first_byte(vm) - began) / 1e6

    moments = list(await asyncio.gather(*(ready(vm) for vm in vms)))
    await asyncio.sleep(IDLE_S)
    return Eight(moments, waiting, [private(vm) for vm in vms])


def private(vm: PooledVm) -> float:
    return vm.sample().private_bytes / MIB


async def measured() -> list[Row]:
    async with host("eight", Marks(VMS, VMS, 0, 0)) as layer:
        await stocked(layer, (VMS, 0))
        ours = await eight(layer)
    async with host("eight-cold", Marks(0, 0, 0, 0), cold=True) as layer:
        theirs = await eight(layer)
    return [
        Row("ready, of 8 at once", "ms", figures(ours.ready), PEER, figures(theirs.ready)),
        Row("private memory, restored and paused", "MiB", figures(ours.waiting), note="512 MiB guest"),
        Row("private memory, idle after its first request", "MiB", figures(ours.idle), PEER, figures(theirs.idle)),
    ]


def run(n: int) -> list[Row]:  # noqa: ARG001  # each VM is a sample
    return uvloop.run(measured())
