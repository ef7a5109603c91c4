"""Takes over the VMs of an earlier hostd."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from ext import netns
from hostd import network
from hostd.drivers.port import Slot, Vmm, VmmHandle
from hostd.errors import VmLostError
from hostd.pool import handle
from hostd.pool.slots import process_name
from hostd.pool.unit import Unit
from hostd.ports import VmState

SOCKET_S = 5.0
"""How long the broker of the earlier hostd may take to let go of the listening socket."""

Recover = Callable[[Path, VmmHandle], Awaitable[Vmm]]


@dataclass(frozen=True, slots=True)
class Adopted:
    unit: Unit
    about: handle.Handle
    state: VmState


async def adopt(folder: Path, scope: str, recover: Recover) -> Adopted:
    """The running or paused VM whose folder this is. `DamagedStateError`, `VmLostError`, `OSError`: end it."""
    about = handle.load(folder)
    if about.version != handle.VERSION or about.vm_id != folder.name:
        raise VmLostError("its handle is of another version or another VM")
    vmm = await recover(folder, about.vmm)
    try:
        state = VmState.RUNNING if await vmm.running() else VmState.PAUSED
        net = await _network(vmm.pid)
    except BaseException:
        vmm.close()
        raise
    slot = Slot(about.vm_id, process_name(scope, about.vm_id), about.uid, about.size, net, -1, (), folder)
    return Adopted(Unit(slot, vmm, None), about, state)


async def _network(pid: int) -> netns.Net:
    """New sockets in the VM's namespace; its tap lives in the VMM."""
    ns = netns.of_process(pid)
    try:
        listener = await _listener(ns)
        try:
            return netns.Net(ns, -1, listener, netns.datagram(ns))
        except BaseException:
            os.close(listener)
            raise
    except BaseException:
        os.close(ns)
        raise


async def _listener(ns: int) -> int:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SOCKET_S
    while True:
        try:
            return netns.listener(ns, network.HOST_IP, network.PORT)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or loop.time() > deadline:
                raise
        await asyncio.sleep(0.05)
