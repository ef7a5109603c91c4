"""The rule of progress, on a clock that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hostd.runner.stall import PATIENCE, Stall

LIMIT = 100.0


class Clock:
    """Time and CPU time of a VM; both move only when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cpu = 0.0

    async def spend(self, seconds: float, cpu: float = 0.0) -> None:
        self.now += seconds
        self.cpu += cpu
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stall(clock: Clock) -> Stall:
    made = Stall(LIMIT, lambda: clock.cpu, lambda: clock.now)
    made.resume()
    return made


async def ended(stall: Stall) -> str:
    """What it says when it is over by now; empty: it is not."""
    try:
        async with asyncio.timeout(0.01):
            return await stall.expired()
    except TimeoutError:
        return ""


async def test_silence_ends_it(stall: Stall, clock: Clock) -> None:
    await clock.spend(LIMIT - 1)
    assert not await ended(stall)
    await clock.spend(1)
    assert await ended(stall) == "nothing new for 100 s"


async def test_progress_begins_the_count_anew(stall: Stall, clock: Clock) -> None:
    for _ in range(20):
        await clock.spend(LIMIT - 1)
        stall.progressed()
        assert not await ended(stall)
    await clock.spend(LIMIT)
    assert await ended(stall)


async def test_computing_in_silence_counts_but_not_for_ever(stall: Stall, clock: Clock) -> None:
    for _ in range(PATIENCE - 1):
        await clock.spend(LIMIT, cpu=LIMIT)
        assert not await ended(stall)
    await clock.spend(LIMIT, cpu=LIMIT)
    assert "although it computed" in await ended(stall)


async def test_a_heartbeat_of_cpu_is_no_computing(stall: Stall, clock: Clock) -> None:
    await clock.spend(LIMIT, cpu=LIMIT / 100)
    assert await ended(stall)


async def test_what_was_computed_before_the_last_progress_does_not_count(stall: Stall, clock: Clock) -> None:
    await clock.spend(10, cpu=500)
    stall.progressed()
    await clock.spend(LIMIT)
    assert await ended(stall)


@pytest.mark.parametrize(
    ("stop", "go"),
    [
        (lambda stall: stall.pause(), lambda stall: stall.resume()),
        (lambda stall: stall.progressed(asking=True), lambda stall: stall.progressed()),
    ],
)
async def test_a_held_vm_and_a_question_stop_the_clock(
    stall: Stall, clock: Clock, stop: Callable[[Stall], None], go: Callable[[Stall], None]
) -> None:
    stop(stall)
    await clock.spend(10 * LIMIT)
    assert not await ended(stall)
    go(stall)
    await clock.spend(LIMIT)
    assert await ended(stall)


async def test_an_answer_does_not_start_a_held_vm(stall: Stall, clock: Clock) -> None:
    stall.pause()
    stall.progressed()
    await clock.spend(10 * LIMIT)
    assert not await ended(stall)


async def test_it_can_be_switched_off(clock: Clock) -> None:
    stall = Stall(0, lambda: clock.cpu, lambda: clock.now)
    stall.resume()
    await clock.spend(1e9)
    assert not await ended(stall)
