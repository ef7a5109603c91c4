"""hostd is killed at each step of making and taking down a VM (I8): the next one leaves nothing of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hostd.failpoint import VARIABLE
from hostd.pool.config import PoolConfig
from hostd.pool.layer import VmLayer
from hostd.pool.orphans import vmms
from tests.e2e.vm.conftest import descriptors, inventory
from tests.extent import either

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 120
ALL = (
    "slot_after_disk",
    "slot_after_folder",
    "slot_after_cgroup",
    "slot_after_network",
    "vmm_after_spawn",
    "vmm_after_prepare",
    "vmm_after_restore",
    "handle_before_save",
    "handle_after_save",
    "reap_after_kill",
    "drop_after_network",
)
# Between them, what each of the others would leave is left too.
WORST = ("slot_after_network", "vmm_after_spawn", "vmm_after_restore", "handle_after_save", "drop_after_network")
OWNER = """
import asyncio, sys, uvloop
from pathlib import Path
from hostd import failpoint
from hostd.pool.config import PoolConfig
from hostd.pool.layer import VmLayer
from hostd.pool.marks import Marks
from hostd.ports import VmRequest

async def main(state, cache):
    host = VmLayer(PoolConfig(Path(state), cache_dir=Path(cache), accel="tcg", uid_base=92000, marks=Marks(1, 1, 1, 1)))
    await host.recover()
    for vm in host.vms():
        await vm.stop()
    await host.drain()
    failpoint.arm()
    await host.open(lambda _: None)
    vm = await host.acquire(VmRequest("default", attempt_id="at_1"))
    await vm.start()
    await asyncio.sleep(1)
    await vm.stop()
    await host.drain()
    await asyncio.sleep(600)

uvloop.run(main(*sys.argv[1:]))
"""


async def crash(config: PoolConfig, place: str) -> None:
    """A hostd that takes over what the last one left, and dies at that place."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(config.state_dir), str(config.cache_dir)),
        cwd=ROOT,
        env=os.environ | {VARIABLE: f"{place}=kill"},
        start_new_session=True,
    )
    try:
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == -signal.SIGKILL, place
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.timeout(900)
async def test_whatever_a_crash_leaves_is_removed(config: Callable[..., PoolConfig]) -> None:
    settings = config()
    left: dict[str, int] = {}
    for place in either(WORST, ALL):
        await crash(settings, place)
        left[place] = len(vmms(settings.scope)) + len(inventory(settings))
    before = descriptors()
    host = VmLayer(settings)
    adopted = await host.recover()
    assert set(vmms(settings.scope).values()) == {vm.id for vm in adopted}, "what is not adopted is ended"
    await host.close(keep_vms=False)

    assert inventory(settings) == []
    assert abs(descriptors() - before) <= 2
    assert any(left.values()), "a crash that leaves nothing proves nothing"
