from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from hostd.errors import HostFullError, NotFoundError, TemplateError, VmLostError, WrongStateError
from hostd.pool.layer import VmLayer
from hostd.pool.marks import Marks
from hostd.pool.vm import PooledVm
from hostd.ports import Tier, VmRequest, VmSize, VmState
from hostd.templates.bake import Baker
from tests.e2e.vm.conftest import Layers, descriptors, ready
from tests.extent import either
from tests.fakes.work_server import WorkServer

HELLO = '#!/bin/sh\necho \'{"type": "log", "text": "hello from the guest"}\'\n'


async def say_hello(vm: PooledVm) -> list[str]:
    """Let the guest run an agent; returns what it logged."""
    async with WorkServer(vm, HELLO) as server:
        await vm.start()
        server.ring()
        outcome = await asyncio.wait_for(server.outcome, 60)
        assert outcome["status"] == "succeeded", outcome
        return server.log_lines()


@pytest.mark.parametrize(
    ("marks", "tier"), [(Marks(1, 1, 0, 0), Tier.T0), (Marks(0, 0, 1, 1), Tier.T1), (Marks(0, 0, 0, 0), Tier.T1S)]
)
async def test_a_vm_of_each_tier_runs_an_agent(layer: Layers, marks: Marks, tier: Tier) -> None:
    async with layer(marks=marks) as host:
        await ready(host, count=0 if tier is Tier.T1S else 1)
        vm = await host.acquire(VmRequest("default", attempt_id="at_1"))
        assert vm.tier is tier
        assert "hello from the guest" in await say_hello(vm)
        assert vm.state is VmState.RUNNING
        assert vm.template in {template.digest for template in host.templates()}


async def test_without_a_template_a_vm_boots_cold(layer: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: object) -> None:
        raise TemplateError("no template today")

    async with layer() as host:
        monkeypatch.setattr(Baker, "bake", fail)
        vm = await host.acquire(VmRequest("default", VmSize(memory_mib=640)))
        assert vm.tier is Tier.T2
        assert vm.template == ""
        assert vm.size.memory_mib == 640
        assert "hello from the guest" in await say_hello(vm)


async def test_a_vm_is_paused_resumed_watched_and_spoken_to(layer: Layers) -> None:
    async with layer() as host:
        vm = await host.acquire(VmRequest("default"))
        async with WorkServer(vm, "#!/bin/sh\necho seen on the console > /dev/ttyS0\nsleep 60\n") as server:
            timing = await vm.start()
            assert timing.tier is Tier.T1S
            assert timing.boot_us > 0
            with pytest.raises(WrongStateError):
                await vm.start()
            server.ring()
            said = b""
            async with asyncio.timeout(60):
                async for data in vm.console():
                    said += data
                    if b"seen on the console" in said:
                        break
            await vm.pause()
            assert vm.state is VmState.PAUSED
            before = vm.sample().cpu_s
            await asyncio.sleep(0.3)
            assert vm.sample().cpu_s - before < 0.1
            await vm.resume()
            sample = vm.sample()
            assert sample.memory_bytes > sample.private_bytes > 1 << 20
            await vm.stop()
            await vm.stop()
            with pytest.raises(VmLostError):
                await vm.pause()
        assert host.vms() == ()


async def test_a_killed_vm_says_so_and_is_cleaned_up(layer: Layers) -> None:
    async with layer() as host:
        vm = await host.acquire(VmRequest("default"))
        await vm.start()
        os.kill(vm.unit.vmm.pid, signal.SIGKILL)
        assert "SIGKILL" in await asyncio.wait_for(vm.died(), 60)
        assert vm.state is VmState.STOPPED
        assert host.vms() == ()


async def test_a_waiting_vm_that_dies_is_replaced_and_never_handed_out(layer: Layers) -> None:
    async with layer(marks=Marks(1, 1, 0, 0)) as host:
        await ready(host, count=1)
        assert host._stock is not None
        (shelf,) = host._stock._shelves.values()
        (unit,) = shelf._units.values()
        os.kill(unit.vmm.pid, signal.SIGKILL)
        while unit.token in shelf._units:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await ready(host, count=1)
        vm = await host.acquire(VmRequest("default"))
        assert vm.id != unit.slot.vm_id
        await vm.start()


async def test_the_cap_counts_what_is_taken_and_not_what_waits(layer: Layers) -> None:
    async with layer(max_vms=2, marks=Marks(2, 2, 0, 0)) as host:
        await ready(host, count=2)
        vms = [await host.acquire(VmRequest("default")) for _ in range(2)]
        with pytest.raises(HostFullError):
            await host.acquire(VmRequest("default"))
        await vms[0].stop()
        await (await host.acquire(VmRequest("default"))).start()
    async with layer(max_memory_mib=600) as host:
        await host.acquire(VmRequest("default"))
        with pytest.raises(HostFullError):
            await host.acquire(VmRequest("default"))


async def test_an_unknown_image_is_refused(layer: Layers) -> None:
    async with layer() as host:
        for name in ("nothing", "../default", "default\0"):
            with pytest.raises(NotFoundError):
                await host.acquire(VmRequest(name))


async def test_many_cycles_leave_nothing(layer: Layers) -> None:
    """Every tier but the cold boot; some are cancelled while they are acquired."""
    async with layer(marks=Marks(3, 3, 1, 1), max_vms=6) as host:
        await ready(host, count=4)
        await cycle(host, 0)
        await host._reaper.drain()
        await ready(host, count=4)
        before = descriptors()
        for number in range(either(40, 200)):
            await cycle(host, number)
        await host._reaper.drain()
        await ready(host, count=4)
        assert abs(descriptors() - before) <= 2
        assert host.vms() == ()
        counts = await host.cleanup()
        assert counts.vms == counts.files == 0


async def cycle(host: VmLayer, number: int) -> None:
    taking = asyncio.create_task(host.acquire(VmRequest("default", attempt_id=f"at_{number}")))
    if number % 10 == 9:
        await asyncio.sleep(0.002 * (number % 7))
        taking.cancel()
    with suppress(asyncio.CancelledError):
        vm = await taking
        await vm.start()
        if number % 5 == 0:
            os.kill(vm.unit.vmm.pid, signal.SIGKILL)
            await vm.died()
        await vm.stop()


async def test_a_handle_is_written_for_a_running_vm(layer: Layers, tmp_path: Path) -> None:
    async with layer() as host:
        vm = await host.acquire(VmRequest("default", attempt_id="at_7"))
        await vm.start()
        path = tmp_path / "state/vms" / vm.id / "handle.json"
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(path.exists):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        handle = json.loads(await asyncio.to_thread(path.read_text))
        assert handle["attempt_id"] == "at_7"
        assert handle["vmm"]["pid"] == vm.unit.vmm.pid
