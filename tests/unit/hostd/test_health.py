"""Signs of life, and what follows when they stay away."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from hostd.errors import VmLostError
from hostd.health import Health
from hostd.ports import Vm, VmHealth, VmHost, VmState


@dataclass
class Machine:
    """As much of a VM as the rounds look at. `silent`: its VMM does not account for itself."""

    id: str
    state: VmState = VmState.RUNNING
    silent: bool = False

    def sample(self) -> None:
        if self.silent:
            raise VmLostError("gone")


@dataclass
class Yard:
    """A host and its ward: `answering` guests can be asked."""

    machines: list[Machine]
    answering: bool = True
    asked: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def vms(self) -> list[Machine]:
        return self.machines

    async def ask(self, vm: Vm) -> bool:
        if self.answering:
            self.asked.append(vm.id)
        return self.answering

    def lose(self, vm_id: str, reason: str) -> None:
        self.lost.append(vm_id)


@pytest.fixture
def yard() -> Yard:
    return Yard([Machine("vm_1")])


@pytest.fixture
def health(yard: Yard) -> Health:
    return Health(cast("VmHost", yard), cast("Any", yard))


async def rounds(health: Health, count: int) -> None:
    for _ in range(count):
        await health.round()


async def test_three_missed_signs_in_a_row_lose_a_vm_once(yard: Yard, health: Health) -> None:
    await rounds(health, 3)
    assert (health.pulse("vm_1").misses, health.pulse("vm_1").health, yard.lost) == (2, VmHealth.UNKNOWN, [])
    await rounds(health, 3)
    assert (health.pulse("vm_1").health, yard.lost) == (VmHealth.UNHEALTHY, ["vm_1"])
    assert len(yard.asked) == 3


async def test_any_sign_between_two_rounds_is_enough(yard: Yard, health: Health) -> None:
    for _ in range(6):
        await rounds(health, 3)
        health.heard("vm_1", time.monotonic_ns())
    await health.round()
    pulse = health.pulse("vm_1")
    assert (pulse.health, pulse.misses, yard.lost) == (VmHealth.HEALTHY, 0, [])
    assert abs(pulse.last_seen_ns - time.time_ns()) < 60 * 10**9


async def test_a_vm_that_stands_still_is_not_asked(yard: Yard, health: Health) -> None:
    await rounds(health, 3)
    yard.machines[0].state = VmState.PAUSED
    await rounds(health, 9)
    assert (len(yard.asked), health.pulse("vm_1").misses, yard.lost) == (3, 2, [])
    yard.machines[0].state = VmState.RUNNING
    await health.round()
    assert yard.lost == []  # what it was asked before it stood still does not count


async def test_where_no_guest_can_answer_the_vmm_speaks_for_it(yard: Yard, health: Health) -> None:
    yard.answering = False
    await rounds(health, 9)
    assert (health.pulse("vm_1").health, yard.lost) == (VmHealth.HEALTHY, [])
    yard.machines[0].silent = True
    await rounds(health, 2)
    yard.machines[0].silent = False
    await health.round()
    assert health.pulse("vm_1").misses == 0
    yard.machines[0].silent = True
    await rounds(health, 3)
    assert yard.lost == ["vm_1"]


async def test_a_lost_vm_is_remembered_as_such_when_it_is_gone(yard: Yard, health: Health) -> None:
    await rounds(health, 4)
    yard.machines.clear()
    await rounds(health, 2)
    health.heard("vm_1", time.monotonic_ns())
    assert health.pulse("vm_1").health is VmHealth.UNHEALTHY
    assert health.pulse("vm_2").health is VmHealth.UNKNOWN
