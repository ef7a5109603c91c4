"""From acquiring a VM to running and to the first byte of its first request, tier by tier and many at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import uvloop

from bench.measure import WARM_UP, Figures, Row, figures
from bench.vms import first_byte, host, own_cpu_ms, stocked
from hostd.pool.layer import VmLayer
from hostd.pool.marks import Marks
from hostd.pool.vm import PooledVm
from hostd.ports import Tier, VmRequest

NAME = "boot_tiers"
SUMMARY = "VM boot by tier T0, T1, T1s, T2, and 10 and 50 at once"

GOALS = {Tier.T0: "p50 < 0.5, p99 < 5", Tier.T1: "p50 < 3, p99 < 10", Tier.T1S: "p50 < 50", Tier.T2: ""}
STOCK = {Tier.T0: (1, 0), Tier.T1: (0, 1), Tier.T1S: (0, 0), Tier.T2: (0, 0)}
CROWDS = (10, 50)
COLD_SHARE = 20
"""A cold boot takes seconds: one for so many of the others."""
PEER = "no pool: slot, VMM and restore on demand"
COLD_PEER = "cold boot"


@dataclass(frozen=True, slots=True)
class Boot:
    """Milliseconds from the acquire to the running machine and to the first byte."""

    running: float
    ready: float


async def boot(layer: VmLayer, tier: Tier) -> Boot:
    """One VM of a tier, measured and thrown away."""
    await stocked(layer, STOCK[tier])
    began = time.monotonic_ns()
    vm = await layer.acquire(VmRequest("default"))
    if vm.tier is not tier:
        raise RuntimeError(f"wanted {tier}, got {vm.tier}")
    timing = await vm.start()
    ready = await first_byte(vm)
    await vm.stop()
    return Boot(timing.boot_us / 1e3, (ready - began) / 1e6)


def marks(tier: Tier, count: int = 1) -> Marks:
    return {Tier.T0: Marks(count, count, 0, 0), Tier.T1: Marks(0, 0, count, count)}.get(tier, Marks(0, 0, 0, 0))


async def by_tier(n: int) -> dict[Tier, list[Boot]]:
    """All tiers in turns, one VM at a time; T2 in every `COLD_SHARE`th round."""
    async with AsyncExitStack() as stack:
        layers = {
            tier: await stack.enter_async_context(host(tier.lower(), marks(tier), cold=tier is Tier.T2))
            for tier in STOCK
        }
        rounds: dict[Tier, list[Boot]] = {tier: [] for tier in STOCK}
        for number in range(n + WARM_UP):
            for tier, layer in layers.items():
                if tier is not Tier.T2 or number % COLD_SHARE == WARM_UP:
                    measured = await boot(layer, tier)
                    if number >= WARM_UP:
                        rounds[tier].append(measured)
    return rounds


@dataclass(frozen=True, slots=True)
class Crowd:
    """Boots per second up to running and up to ready, and CPU milliseconds per boot of hostd and VMMs up to ready."""

    running: float
    ready: float
    cpu: float


async def crowd(count: int, marks_of: Marks, wanted: tuple[int, int]) -> Crowd:
    async with host("crowd", marks_of, max_vms=count) as layer:
        await stocked(layer, wanted)
        used = own_cpu_ms()
        began = time.monotonic_ns()

        async def one() -> tuple[PooledVm, int, int]:
            vm = await layer.acquire(VmRequest("default"))
            await vm.start()
            return vm, time.monotonic_ns(), await first_byte(vm)

        done = await asyncio.gather(*(one() for _ in range(count)))
        cpu = own_cpu_ms() - used + sum(vm.sample().cpu_s for vm, _, _ in done) * 1e3
        running, ready = (max(moments) - began for moments in list(zip(*done, strict=True))[1:])
        return Crowd(count / running * 1e9, count / ready * 1e9, cpu / count)


async def crowds() -> list[Row]:
    rows = []
    for count in CROWDS:
        ours = await crowd(count, Marks(count, count, 0, 0), (count, 0))
        theirs = await crowd(count, Marks(0, 0, 0, 0), (0, 0))
        for metric, unit, mine, other in (
            (f"{count} at once, running", "ms per VM", 1e3 / ours.running, 1e3 / theirs.running),
            (f"{count} at once, ready", "ms per VM", 1e3 / ours.ready, 1e3 / theirs.ready),
            (f"{count} at once, CPU to ready", "ms per VM", ours.cpu, theirs.cpu),
        ):
            note = f"{1e3 / mine:.1f} VMs/s" if "CPU" not in metric else "hostd and VMM, its making included"
            rows.append(Row(metric, unit, once(mine), PEER, once(other), note=note))
    return rows


def once(value: float) -> Figures:
    return figures([value])


def rows_of(rounds: dict[Tier, list[Boot]]) -> list[Row]:
    """T0 and T1 beside the same without a pool, everything's readiness beside a cold boot."""
    running = {tier: figures([boot.running for boot in boots]) for tier, boots in rounds.items()}
    ready = {tier: figures([boot.ready for boot in boots]) for tier, boots in rounds.items()}
    peer = running[Tier.T1S]
    cold = "to the first instruction; see ready"
    return [
        Row("T0: paused VM resumed", "ms", running[Tier.T0], PEER, peer, goal=GOALS[Tier.T0]),
        Row("T1: waiting VMM restores", "ms", running[Tier.T1], PEER, peer, goal=GOALS[Tier.T1]),
        Row("T1s: VMM on demand", "ms", running[Tier.T1S], COLD_PEER, ready[Tier.T2], goal=GOALS[Tier.T1S]),
        Row("T2: cold boot", "ms", running[Tier.T2], note=cold),
        *(Row(f"{tier}: ready", "ms", ready[tier], COLD_PEER, ready[Tier.T2]) for tier in STOCK),
    ]


async def measured(n: int) -> Sequence[Row]:
    return [*rows_of(await by_tier(n)), *await crowds()]


def run(n: int) -> list[Row]:
    return list(uvloop.run(measured(n)))
