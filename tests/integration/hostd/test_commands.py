"""Commands of the control plane: VMs booted by hand, verbs on VMs, templates, console, cleanup."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.vm.v1 import vm_pb2
from tests.fakes.control_plane import ControlPlane, Host, until
from tests.integration.hostd.conftest import Hosts
from tests.integration.hostd.test_attempts import bundle

PAUSE, RESUME, TERMINATE = pb.VmVerb.VERB_PAUSE, pb.VmVerb.VERB_RESUME, pb.VmVerb.VERB_TERMINATE


@pytest.fixture
async def host(control: ControlPlane, hosts: Hosts) -> Host:
    await hosts("state", "--max-vms", "3", "--idle-vm-s", "0.3").start()
    return await control.host()


async def command(host: Host, **verb: Any) -> pb.CommandUpdate:
    """Send a command and wait for its end."""
    ident = f"cm_{host.sent}"
    ControlPlane.send(host, pb.ControlEvent(command=pb.Command(command_id=ident, **verb)))
    await until(lambda: any(u.done for u in host.of("command_update") if u.command_id == ident), f"{verb} ends")
    found: pb.CommandUpdate = next(u for u in host.of("command_update") if u.command_id == ident and u.done)
    return found


def vms(host: Host) -> dict[str, vm_pb2.Vm]:
    reports = host.of("vm_report")
    return {vm.id: vm for vm in reports[-1].vms} if reports else {}


async def test_vms_are_booted_paused_resumed_and_stopped_by_hand(host: Host) -> None:
    booted = await command(host, boot_vms=pb.BootVms(count=2))
    first, second = booted.vms
    assert (booted.error_code, first.state, first.image) == ("", vm_pb2.VM_STATE_RUNNING, "default")
    assert first.boot.boot_us > 0
    (paused,) = (await command(host, vm=pb.VmVerb(vm_id=first.id, verb=PAUSE))).vms
    assert paused.state == vm_pb2.VM_STATE_PAUSED
    (resumed,) = (await command(host, vm=pb.VmVerb(vm_id=first.id, verb=RESUME))).vms
    assert resumed.state == vm_pb2.VM_STATE_RUNNING
    await command(host, vm=pb.VmVerb(vm_id=second.id, verb=TERMINATE))
    await until(lambda: vms(host)[second.id].state == vm_pb2.VM_STATE_STOPPED, "its end is reported")
    assert host.of("vm_report")[-1].used.vms == 1


async def test_more_vms_than_fit_are_booted_not_at_all(host: Host) -> None:
    refused = await command(host, boot_vms=pb.BootVms(count=4))
    assert refused.error_code == "RESOURCE_EXHAUSTED"
    assert (await command(host, boot_vms=pb.BootVms(count=3))).error_code == "", "nothing of the refused ones is left"


async def test_an_operator_pauses_and_terminates_an_attempt(control: ControlPlane, host: Host) -> None:
    control.assign(host, "at_one", input={"sim": {"run_for_ms": 300}})
    await until(lambda: host.of("running"), "it runs")
    vm = host.of("started")[0].vm_id
    await command(host, vm=pb.VmVerb(vm_id=vm, verb=PAUSE))
    seen = len(host.of("renewal"))
    await until(lambda: len(host.of("renewal")) > seen + 5, "renewals go on, and do not resume it")
    assert not host.of("finished")
    await command(host, vm=pb.VmVerb(vm_id=vm, verb=RESUME))
    await control.finished(host)
    control.assign(host, "at_two", input={"sim": {"hang": True}})
    await until(lambda: len(host.of("started")) == 2, "it runs")
    await command(host, vm=pb.VmVerb(vm_id=host.of("started")[1].vm_id, verb=TERMINATE))
    lost = (await control.finished(host, 2))[1]
    assert (lost.cause, lost.reason) == ("vm_lost", "the VM was terminated by an operator")


async def test_what_cannot_be_done_is_said(host: Host) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"vm": pb.VmVerb(vm_id="vm_none", verb=PAUSE)}, "NOT_FOUND"),
        ({"vm": pb.VmVerb(vm_id="vm_none", verb=TERMINATE)}, "NOT_FOUND"),
        ({"vm": pb.VmVerb(vm_id="vm_none")}, "UNIMPLEMENTED"),
        ({"open_console": pb.OpenConsole(vm_id="vm_none")}, "NOT_FOUND"),
        ({"boot_vms": pb.BootVms(count=0)}, "INVALID_ARGUMENT"),
        ({"boot_vms": pb.BootVms(count=1, image="nowhere")}, "FAILED_PRECONDITION"),
        ({"bake_template": pb.BakeTemplate(image="nowhere")}, "NOT_FOUND"),
        ({"verify_template": pb.VerifyTemplate(digest="0" * 64)}, "NOT_FOUND"),
        ({}, "UNIMPLEMENTED"),
    ]
    for verb, code in refused:
        update = await command(host, **verb)
        assert (update.error_code, bool(update.error)) == (code, True), verb


async def test_a_new_template_shows_up_in_the_inventory(host: Host) -> None:
    await command(host, build_image=pb.BuildImage(name="tools"))
    await command(host, bake_template=pb.BakeTemplate(image="tools", memory_mib=512))
    await until(lambda: "tools" in {t.image for i in host.of("inventory") for t in i.templates}, "it is reported")
    template = next(t for t in host.of("inventory")[-1].templates if t.image == "tools")
    assert template.memory_mib == 512
    assert (await command(host, verify_template=pb.VerifyTemplate(digest=template.digest))).error_code == ""


async def test_idle_vms_are_cleaned_up(host: Host) -> None:
    (vm,) = (await command(host, boot_vms=pb.BootVms(count=1))).vms
    await until(lambda: vms(host).get(vm.id), "reported")
    await until(lambda: len(host.of("renewal")) > 6, "some time passes")
    done = await command(host, cleanup=pb.Cleanup())
    assert done.cleanup.vms == 1
    assert done.cleanup.details == [f"stopped idle {vm.id}"]


async def test_a_console_is_relayed_on_a_stream_of_its_own(control: ControlPlane, host: Host) -> None:
    digest = control.bundle(bundle("#!/bin/sh\nsleep 30\n"))
    agent = {"name": "a", "version": "1", "digest": digest, "command": ["./run"]}
    control.assign(host, "at_one", agent=agent)
    await until(lambda: host.of("running"), "it runs")
    verb = pb.OpenConsole(vm_id=host.of("started")[0].vm_id)
    ControlPlane.send(host, pb.ControlEvent(command=pb.Command(command_id="cm_console", open_console=verb)))
    await until(lambda: control.console, "the stream names its command")
    await command(host, vm=pb.VmVerb(vm_id=verb.vm_id, verb=TERMINATE))
    await until(lambda: any(u.command_id == "cm_console" and u.done for u in host.of("command_update")), "it ends")
