"""Templates and snapshots with real VMs."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

import pytest

from ext import snapshot
from hostd.errors import DamagedStateError
from hostd.ports import VmRequest
from tests.e2e.harness.deployment import cache_dir
from tests.e2e.vm.conftest import Layers
from tests.fakes.work_server import WorkServer


def copy_cache(into: Path) -> None:
    for name in ("images", "templates"):
        shutil.copytree(cache_dir() / name, into / name, ignore=shutil.ignore_patterns(".new-*"))


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


async def test_damage_is_noticed_and_repaired(layer: Layers, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with layer():
        pass  # whatever the cache lacked is there now
    cache = tmp_path / "cache"
    await asyncio.to_thread(copy_cache, cache)
    for memory in await asyncio.to_thread(lambda: list(cache.glob("templates/*/memory"))):
        await asyncio.to_thread(flip, memory)
    for kernel in await asyncio.to_thread(lambda: list(cache.glob("images/default-*/root"))):
        await asyncio.to_thread(flip, kernel)
    said: list[str] = []
    with caplog.at_level(logging.WARNING):
        async with layer(cache_dir=cache) as host:
            assert any("baking it again" in line for line in caplog.messages), said
            await (await host.acquire(VmRequest("default"))).start()
            digests = [template.digest for template in host.templates()]
            await host.verify(digests[0], lambda _: None)
            await asyncio.to_thread(flip, cache / "templates" / digests[0] / "state")
            with pytest.raises(DamagedStateError, match="state is damaged"):
                await host.verify(digests[0], lambda _: None)


async def test_copies_share_the_template_and_cannot_alter_it(layer: Layers) -> None:
    async with layer() as host:
        vms = [await host.acquire(VmRequest("default")) for _ in range(2)]
        for vm in vms:
            await vm.start()
        sealed = vms[0].unit.sealed
        assert sealed is not None
        inode = os.fstat(sealed.memory).st_ino
        size = sealed.manifest.memory.size_bytes
        for vm in vms:
            async with asyncio.timeout(60):
                while not (private := snapshot.private_bytes(vm.unit.vmm.pid, inode)):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert private < size // 4
        assert snapshot.digest(sealed.memory, size).hex() == sealed.manifest.memory.sha256
        assert sealed.manifest.working_set


async def test_a_running_vm_is_snapshotted_and_comes_back_with_its_processes(layer: Layers, tmp_path: Path) -> None:
    script = "#!/bin/sh\ni=0\nwhile [ $i -lt 400 ]; do i=$((i+1)); echo count $i; sleep 0.05; done\n"
    async with layer() as host:
        vm = await host.acquire(VmRequest("default"))
        assert host._stock is not None
        driver, stream = host._stock._driver, os.open(tmp_path / "stream", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            async with WorkServer(vm, script) as server:
                await vm.start()
                server.ring()
                async with asyncio.timeout(60):
                    while not any("count 3" in line for line in server.log_lines()):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                await vm.unit.vmm.snapshot(stream)
            await vm.stop()
            image = await host._images.open("default", lambda _: None)
            async with host._slots.lend(vm.size) as slot:
                revived = await driver.revive(slot, image, stream)
                try:
                    await revived.resume()
                    assert await revived.running()
                    before = revived.sample().cpu_s
                    await asyncio.sleep(1)
                    assert revived.sample().cpu_s > before, "its processes go on"
                finally:
                    revived.kill()
                    await revived.exited()
                    revived.close()
        finally:
            os.close(stream)
