"""A host that is cut off pauses its VMs by itself, and goes on or gives up when it is told again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.control_plane import ControlPlane, Host, until
from tests.integration.hostd.conftest import Hosts

SLEEPER = {"sim": {"run_for_ms": 1500}}


@pytest.fixture
async def control(folder: Path) -> AsyncIterator[ControlPlane]:
    """Fences hosts after 0.6 s."""
    plane = ControlPlane(folder / "control.sock", self_fence_ms=600)
    await plane.start()
    yield plane
    await plane.stop()


def state(host: Host) -> str:
    """State of the only VM by the newest report."""
    reports = host.of("vm_report")
    return str(reports[-1].vms[0].state) if reports and reports[-1].vms else ""


async def test_silence_pauses_and_a_renewal_resumes(control: ControlPlane, hosts: Hosts) -> None:
    process = await hosts().start()
    host = await control.host()
    control.assign(host, "at_one", input=SLEEPER)
    await until(lambda: host.of("running"), "the attempt runs")
    control.silent = True
    await until(lambda: "no renewal succeeded in time" in process.words(), "the host fences itself")
    await until(lambda: state(host) == "3", "the VM is paused")
    await asyncio.sleep(1.2)
    assert not host.of("finished"), "a paused VM makes no progress"
    control.silent = False
    (finished,) = await control.finished(host)
    assert finished.cause == ""


async def test_a_stale_attempt_is_destroyed_at_the_next_renewal(control: ControlPlane, hosts: Hosts) -> None:
    process = await hosts().start()
    host = await control.host()
    control.assign(host, "at_old", input={"sim": {"hang": True}})
    control.assign(host, "at_mine", input=SLEEPER)
    await until(lambda: len(host.of("running")) == 2, "both run")
    await control.stop()
    await until(lambda: "no renewal succeeded in time" in process.words(), "the host fences itself")
    control.stale.add("at_old")
    await control.start()
    await control.finished(host)
    assert [item.attempt.attempt_id for item in host.of("finished")] == ["at_mine"]
    await until(lambda: all(vm.HasField("stopped_at") for vm in host.of("vm_report")[-1].vms), "both VMs stop")


async def test_nothing_starts_before_the_first_renewal(control: ControlPlane, hosts: Hosts) -> None:
    control.silent = True
    await hosts().start()
    host = await control.host()
    control.assign(host, "at_one", input={"sim": {}})
    await asyncio.sleep(0.5)
    assert not host.of("started")
    control.silent = False
    await control.finished(host)
