"""An attempt waits for the room of a VM that ends, and no longer than it was told."""

from __future__ import annotations

import asyncio

import pytest

from hostd.errors import HostFullError
from hostd.runner.vacancy import Vacancy


class Host:
    """A host with room for nobody until `room` is set."""

    def __init__(self) -> None:
        self.room = False
        self.asked = 0

    async def acquire(self) -> str:
        self.asked += 1
        if not self.room:
            raise HostFullError("all 1 VMs of this host are in use")
        return "vm"


async def test_a_full_host_is_asked_again_when_a_vm_has_ended() -> None:
    host, vacancy = Host(), Vacancy()
    claim = asyncio.create_task(vacancy.claim(host.acquire, 60))
    await asyncio.sleep(0)
    vacancy.signal()  # somebody else was quicker
    await asyncio.sleep(0.01)
    host.room = True
    vacancy.signal()

    assert await claim == "vm"
    assert host.asked == 3


async def test_a_host_that_stays_full_says_so() -> None:
    host, vacancy = Host(), Vacancy()

    with pytest.raises(HostFullError, match="in use"):
        await vacancy.claim(host.acquire, 0.01)

    assert host.asked == 1


async def test_an_end_during_the_attempt_to_acquire_is_not_missed() -> None:
    vacancy, asked = Vacancy(), 0

    async def acquire() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            vacancy.signal()
            raise HostFullError("full")
        return "vm"

    assert await vacancy.claim(acquire, 60) == "vm"
