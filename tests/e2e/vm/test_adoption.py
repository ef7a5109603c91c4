"""A hostd that was killed: the next one adopts its VMs, or ends them; none is forgotten."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hostd.pool.config import PoolConfig
from hostd.pool.layer import VmLayer
from hostd.pool.orphans import vmms
from hostd.ports import VmRequest, VmState
from tests.e2e.vm.conftest import inventory
from tests.fakes.work_server import WorkServer

VMS = 3
PATIENCE_S = 400
ROOT = Path(__file__).resolve().parents[3]
OWNER = """
import asyncio, sys, uvloop
from pathlib import Path
from hostd.pool.config import PoolConfig
from hostd.pool.layer import VmLayer
from hostd.pool.marks import Marks
from hostd.ports import VmRequest

async def main(state, cache, count):
    host = VmLayer(PoolConfig(Path(state), cache_dir=Path(cache), accel="tcg", uid_base=92000, marks=Marks(1, 1, 1, 1)))
    await host.recover()
    await host.open(lambda _: None)
    vms = [await host.acquire(VmRequest("default", attempt_id=f"at_{i}")) for i in range(int(count))]
    for vm in vms:
        await vm.start()
    await vms[0].pause()
    await asyncio.sleep(1)
    print(*(vm.id for vm in vms), flush=True)
    await asyncio.sleep(600)

uvloop.run(main(*sys.argv[1:]))
"""


async def killed_owner(config: PoolConfig) -> list[str]:
    """Ids of the VMs of a hostd that was killed; the first is paused."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(config.state_dir), str(config.cache_dir), str(VMS)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    return line.decode().split()


async def test_vms_are_adopted_as_they_were(config: Callable[..., PoolConfig]) -> None:
    settings = config()
    ids = await killed_owner(settings)
    assert set(ids) < set(vmms(settings.scope).values()), "the VMs outlive their hostd"
    host = VmLayer(settings)
    adopted = {vm.id: vm for vm in await host.recover()}
    assert sorted(adopted) == sorted(ids)
    assert sorted(vmms(settings.scope).values()) == sorted(ids), "VMs that nobody had taken are ended"
    await host.open(lambda _: None)
    try:
        assert [adopted[i].attempt_id for i in ids] == ["at_0", "at_1", "at_2"]
        assert [adopted[i].state for i in ids] == [VmState.PAUSED, VmState.RUNNING, VmState.RUNNING]
        await adopted[ids[0]].resume()
        for vm in adopted.values():
            async with WorkServer(vm, "#!/bin/sh\necho still here\n") as server:
                server.ring()
                assert (await asyncio.wait_for(server.outcome, 60))["status"] == "succeeded"
        os.kill(adopted[ids[1]].unit.vmm.pid, signal.SIGKILL)
        await asyncio.wait_for(adopted[ids[1]].died(), 60)
        fresh = await host.acquire(VmRequest("default"))
        assert fresh.unit.slot.uid not in {vm.unit.slot.uid for vm in adopted.values()}
        await fresh.start()
    finally:
        await host.close(keep_vms=False)
    assert inventory(settings) == []


async def test_a_clean_stop_can_leave_vms_to_the_next_hostd(config: Callable[..., PoolConfig]) -> None:
    settings = config()
    first = VmLayer(settings)
    await first.open(lambda _: None)
    vm = await first.acquire(VmRequest("default", attempt_id="at_1"))
    await vm.start()
    await asyncio.sleep(0.1)
    await first.close(keep_vms=True)
    second = VmLayer(settings)
    (adopted,) = await second.recover()
    assert (adopted.id, adopted.attempt_id, adopted.created_ns) == (vm.id, "at_1", vm.created_ns)
    await second.open(lambda _: None)
    await second.close(keep_vms=False)
    assert inventory(settings) == []


@pytest.mark.parametrize("loss", ["wiped", "damaged"])
async def test_vms_without_a_handle_are_ended(config: Callable[..., PoolConfig], loss: str) -> None:
    settings = config()
    ids = await killed_owner(settings)
    if loss == "wiped":
        await asyncio.to_thread(shutil.rmtree, settings.state_dir)
    else:
        await asyncio.to_thread(damage, [settings.vms / vm_id / "handle.json" for vm_id in ids])
    host = VmLayer(settings)
    assert await host.recover() == ()
    assert inventory(settings) == []
    await host.close(keep_vms=False)


def damage(paths: list[Path]) -> None:
    paths[0].write_bytes(b"\0")
    paths[1].unlink()
    paths[2].write_text(paths[2].read_text().replace('"start_ticks":', '"start_ticks":1'))
