"""Slots: all that a VM gets from its host, built ahead of time and taken down in batches."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ext import netns
from hostd import ids, network
from hostd.drivers.port import Slot
from hostd.failpoint import failpoint
from hostd.pool.cgroup import Cgroups
from hostd.pool.disk import Disks
from hostd.pool.identity import Uids
from hostd.ports import VmSize
from hostd.thread import make

PREFIX = "swarm-vm:"
REMOVE_TRIES = 50
REMOVE_REST_S = 0.02


def process_name(scope: str, vm_id: str) -> str:
    """Marks a VMM's command line; `scope` tells the hostds of one machine apart."""
    return f"{PREFIX}{scope}:{vm_id}"


class Slots:
    """Builds and drops slots. `vms` is the folder of the VMs' folders."""

    def __init__(self, scope: str, vms: Path, disks: Disks, cgroups: Cgroups, uids: Uids) -> None:
        self._scope = scope
        self._vms = vms
        self._disks = disks
        self._cgroups = cgroups
        self._uids = uids
        self.live: set[str] = set()
        """Ids of slots that exist or are being built; everything else of this scope is an orphan."""

    async def build(self, size: VmSize) -> Slot:
        """A new slot. Interrupted or failed: nothing is left of it."""
        vm_id = ids.new("vm")
        folder = self._vms / vm_id
        uid = await make(self._uids.release, self._uids.claim)
        scratch = -1
        self.live.add(vm_id)
        try:
            scratch = await self._disks.clone(size.disk_mib)
            await failpoint("slot_after_disk")
            folder.mkdir(mode=0o700)
            await failpoint("slot_after_folder")
            procs = self._cgroups.create(vm_id, size)
            await failpoint("slot_after_cgroup")
            net = await make(netns.Net.close, _network)
        except BaseException:
            if scratch >= 0:
                os.close(scratch)
            self._uids.release(uid)
            self._forget(vm_id)
            self.live.discard(vm_id)
            raise
        return Slot(vm_id, process_name(self._scope, vm_id), uid, size, net, scratch, procs, folder)

    def adopt(self, slot: Slot) -> None:
        """Count in the slot of a VM of an earlier hostd."""
        self.live.add(slot.vm_id)
        self._uids.hold(slot.uid)

    async def drop(self, slots: Iterable[Slot]) -> None:
        """Take down a batch whose VMMs are gone."""
        batch = list(slots)
        for slot in batch:
            self._uids.release(slot.uid)
            if slot.scratch >= 0:
                os.close(slot.scratch)
        await asyncio.to_thread(netns.drop, [slot.net for slot in batch])
        await failpoint("drop_after_network")
        for slot in batch:
            await self.forget(slot.vm_id)
            self.live.discard(slot.vm_id)

    async def leave(self, slot: Slot) -> None:
        """Give up what is held of a slot whose VM goes on without this hostd."""
        await asyncio.to_thread(netns.drop, [slot.net])
        if slot.scratch >= 0:
            os.close(slot.scratch)
        self._uids.release(slot.uid)

    async def forget(self, vm_id: str) -> None:
        """Remove the folder and cgroups of a VM that has no process any more."""
        for _ in range(REMOVE_TRIES):
            if self._forget(vm_id):
                return
            await asyncio.sleep(REMOVE_REST_S)

    @asynccontextmanager
    async def lend(self, size: VmSize) -> AsyncIterator[Slot]:
        """A slot for the length of a block, whose VMM must be gone at its end."""
        slot = await self.build(size)
        try:
            yield slot
        finally:
            await self.drop([slot])

    def _forget(self, vm_id: str) -> bool:
        with suppress(FileNotFoundError):
            shutil.rmtree(self._vms / vm_id)
        return self._cgroups.remove(vm_id)


def _network() -> netns.Net:
    return netns.build(
        network.TAP,
        network.HOST_IP,
        network.PREFIX,
        network.HOST_MAC,
        network.GUEST_IP,
        network.GUEST_MAC,
        network.PORT,
    )
