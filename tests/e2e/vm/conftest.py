"""The VM layer with real VMs. Image and template are made once and shared through the cache folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hostd.pool.config import PoolConfig
from hostd.pool.layer import VmLayer
from hostd.pool.marks import Marks
from hostd.pool.orphans import vmms
from tests.e2e.conftest import need_vms
from tests.e2e.harness.deployment import cache_dir

Layers = Callable[..., AbstractAsyncContextManager[VmLayer]]
NONE = Marks(0, 0, 0, 0)


@pytest.fixture(autouse=True)
def _vms() -> None:
    need_vms()


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., PoolConfig]:
    def make(**options: Any) -> PoolConfig:
        named: dict[str, Any] = {"accel": "tcg", "uid_base": 92000, "max_vms": 10, "marks": NONE}
        return PoolConfig(tmp_path / "state", **({"cache_dir": cache_dir()} | named | options))

    return make


@pytest.fixture
def layer(config: Callable[..., PoolConfig]) -> Layers:
    """Opens a VM layer for a block, and proves afterwards that nothing of it is left."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[VmLayer]:
        settings = config(**options)
        host = VmLayer(settings)
        await host.recover()
        try:
            await host.open(lambda _: None)
            yield host
        finally:
            await host.close(keep_vms=False)
        assert inventory(settings) == []

    return opened


def inventory(config: PoolConfig) -> list[str]:
    """What a hostd of this configuration has on the machine: VMMs, cgroups, folders, disks."""
    left = [f"VMM {vm_id} (pid {pid})" for pid, vm_id in vmms(config.scope).items()]
    left += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"**/swarm/{config.scope}/vm_*")]
    left += [f"folder {path}" for path in config.vms.glob("*")]
    left += [f"disk {path}" for path in config.disks.glob("*") if not path.name.startswith("empty-")]
    return left


async def ready(host: VmLayer, *, count: int) -> None:
    """Wait until so many VMs stand ready."""
    async with asyncio.timeout(60):
        while sum(host.waiting) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # the pool tells nobody


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208
