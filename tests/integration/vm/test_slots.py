from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from ext import netns
from hostd import network
from hostd.pool.cgroup import Cgroups
from hostd.pool.identity import Uids
from hostd.pool.slots import Slots
from hostd.ports import VmSize
from tests.fakes.leaks import nothing_left

SIZE = VmSize(1, 128, 64)


async def test_a_slot_is_all_that_a_vm_needs(slots: Slots, cgroups: Cgroups) -> None:
    async with slots.lend(SIZE) as slot:
        assert slot.folder.stat().st_mode & 0o777 == 0o700
        assert os.fstat(slot.scratch).st_size == SIZE.disk_mib << 20
        with socket.socket(fileno=os.dup(slot.net.listener)) as listener:
            assert listener.getsockname() == (network.HOST_IP, network.PORT)
        assert cgroups.ids() <= {slot.vm_id}
        assert all(os.access(procs, os.W_OK) for procs in slot.cgroup_procs)


async def test_nothing_is_left_of_a_batch(slots: Slots, cgroups: Cgroups, tmp_path: Path) -> None:
    warm = await slots.build(SIZE)  # makes the empty file system that all later ones are cloned from
    await slots.drop([warm])
    with nothing_left():
        batch = await asyncio.gather(*(slots.build(SIZE) for _ in range(5)))
        assert len({slot.uid for slot in batch}) == len({slot.vm_id for slot in batch}) == 5
        await slots.drop(batch)
    assert cgroups.ids() == set()
    assert list((tmp_path / "vms").iterdir()) == []
    assert slots.live == set()


async def test_a_failed_build_leaves_nothing(
    slots: Slots, cgroups: Cgroups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await slots.drop([await slots.build(SIZE)])

    def refuse(*args: object) -> netns.Net:
        raise OSError(24, "no more files")

    monkeypatch.setattr(netns, "build", refuse)
    with nothing_left(), pytest.raises(OSError, match="no more files"):
        await slots.build(SIZE)
    assert cgroups.ids() == set()
    assert list((tmp_path / "vms").iterdir()) == []


async def test_a_cancelled_build_leaves_nothing(slots: Slots, cgroups: Cgroups, tmp_path: Path) -> None:
    await slots.drop([await slots.build(SIZE)])
    with nothing_left():
        for delay in (0.0, 0.0005, 0.001, 0.002, 0.003, 0.004):
            building = asyncio.create_task(slots.build(SIZE))
            await asyncio.sleep(delay)
            building.cancel()
            done = await asyncio.gather(building, return_exceptions=True)
            if not isinstance(done[0], BaseException):
                await slots.drop([done[0]])
    assert cgroups.ids() == set()
    assert list((tmp_path / "vms").iterdir()) == []


async def test_two_hosts_never_share_a_user_id(slots: Slots, tmp_path: Path, cgroups: Cgroups) -> None:
    other = Uids(91000)
    async with slots.lend(SIZE) as slot:
        assert other.claim() != slot.uid
    other.close()
