"""Guests that live, and guests that only seem to."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from hostd import record
from hostd.drivers.sim.vm import Handle
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.vm.v1 import vm_pb2
from tests.fakes.control_plane import ControlPlane, Host, logs, until
from tests.integration.hostd.conftest import Hosts
from tests.integration.hostd.test_attempts import bundle
from tests.integration.hostd.test_commands import command, vms

HANGING = {"sim": {"hang": True}}
MUTE = {"sim": {"hang": True, "mute": True}}
SLEEPER = "#!/bin/sh\necho begun\nsleep 60\n"


@pytest.fixture
async def host(control: ControlPlane, hosts: Hosts) -> Host:
    await hosts("state", "--health-every-s", "1").start()
    return await control.host()


def rounds(host: Host) -> set[float]:
    """When the VM was seen, as reported."""
    found = [vm.last_seen_at.ToNanoseconds() for report in host.of("vm_report") for vm in report.vms]
    return {at for at in found if at}


async def test_a_guest_that_answers_stays_and_a_mute_one_goes(control: ControlPlane, host: Host) -> None:
    control.assign(host, "at_hanging", input=HANGING)
    control.assign(host, "at_mute", input=MUTE)
    (finished,) = await control.finished(host)
    assert (finished.attempt.attempt_id, finished.cause) == ("at_mute", "unhealthy")
    (started,) = (each for each in host.of("started") if each.attempt.attempt_id == "at_mute")
    await until(lambda: vms(host)[started.vm_id].state == vm_pb2.VM_STATE_STOPPED, "its VM is gone")
    assert vms(host)[started.vm_id].health == vm_pb2.VM_HEALTH_UNHEALTHY
    assert vms(host)[started.vm_id].misses == 3
    (other,) = (vm for vm in vms(host).values() if vm.state == vm_pb2.VM_STATE_RUNNING)
    seen = len(rounds(host))
    await until(lambda: len(rounds(host)) > seen + 2, "the other guest goes on answering", 30)
    assert (vms(host)[other.id].health, len(host.of("finished"))) == (vm_pb2.VM_HEALTH_HEALTHY, 1)


async def test_a_frozen_guest_runtime_is_found_behind_a_vmm_that_lives(
    control: ControlPlane, host: Host, hosts: Hosts, folder: Any
) -> None:
    digest = control.bundle(bundle(SLEEPER))
    control.assign(host, "at_frozen", agent={"digest": digest, "name": "sleeper", "command": ["./run"]})
    await until(lambda: "begun" in logs(host, "at_frozen"), "the agent is at work")
    seen = len(rounds(host))
    await until(lambda: len(rounds(host)) > seen + 2, "a silent agent is no silent guest", 30)
    assert host.of("finished") == []
    (started,) = host.of("started")
    handle = record.load(Handle, folder / "state" / "vms" / started.vm_id / "handle.json", "")
    os.kill(handle.pid, signal.SIGSTOP)
    (finished,) = await control.finished(host)
    assert finished.cause == "unhealthy"
    await until(lambda: not (folder / "state" / "vms" / started.vm_id).exists(), "its VM is gone")
    control.assign(host, "at_next", 2, input={"sim": {}})
    assert (await control.finished(host, 2))[1].cause == ""


async def test_a_vm_booted_by_hand_is_healthy_while_its_vmm_is(host: Host) -> None:
    (vm,) = (await command(host, boot_vms=pb.BootVms(count=1))).vms
    assert vm.health == vm_pb2.VM_HEALTH_UNKNOWN
    await until(lambda: vm.id in vms(host) and vms(host)[vm.id].health == vm_pb2.VM_HEALTH_HEALTHY, "its VMM was asked")
