from __future__ import annotations

import re
from dataclasses import replace

import pytest

from hostd.drivers.qemu.command import Accel, Fd, Machine, Memory, boot_arguments, command_line
from hostd.drivers.qemu.driver import limits
from hostd.ports import VmSize

RESTORED = Machine("swarm-vm:default-0:vm_1", Accel.TCG, VmSize(2, 512, 4096), Memory.PRIVATE, incoming=True)
BOOTED = replace(RESTORED, memory=Memory.SHARED, incoming=False)


def options(machine: Machine) -> dict[str, list[str]]:
    """Values by option name."""
    found: dict[str, list[str]] = {}
    words = command_line("/usr/bin/qemu", machine)[1:]
    for word, value in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("-"):
            found.setdefault(word, []).append("" if value.startswith("-") else value)
    return found


@pytest.mark.parametrize("machine", [RESTORED, BOOTED])
def test_no_file_of_the_host_is_named(machine: Machine) -> None:
    paths = re.findall(r"(?<![\w.])/[^,\s]*", " ".join(command_line("/usr/bin/qemu", machine)[1:]))
    assert paths
    assert all(re.fullmatch(r"/proc/self/fd/\d+|/dev/fdset/\d+", path) for path in paths), paths


@pytest.mark.parametrize("machine", [RESTORED, BOOTED])
def test_the_sandbox_denies_everything_it_can(machine: Machine) -> None:
    assert options(machine)["-sandbox"] == ["on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]


@pytest.mark.parametrize("machine", [RESTORED, BOOTED])
def test_disks_are_raw_and_only_the_root_is_read_only(machine: Machine) -> None:
    root, scratch = options(machine)["-blockdev"]
    assert root.startswith("driver=raw,node-name=root,read-only=on,")
    assert scratch.startswith("driver=raw,node-name=scratch,read-only=off,")


def test_a_restored_machine_maps_the_template_privately_and_loads_no_kernel() -> None:
    found = options(RESTORED)
    assert found["-object"][0].endswith(f"mem-path=/proc/self/fd/{Fd.MEMORY:d},share=off")
    assert found["-incoming"] == ["defer"]
    assert "-kernel" not in found
    assert "-S" not in found


def test_a_booted_machine_shares_its_memory_and_waits_for_its_first_instruction() -> None:
    found = options(BOOTED)
    assert found["-object"][0].endswith("share=on")
    assert "-incoming" not in found
    assert found["-kernel"] == [f"/proc/self/fd/{Fd.KERNEL:d}"]
    assert "-S" in found


def test_memory_of_its_own_needs_no_descriptor() -> None:
    assert "mem-path" not in options(replace(BOOTED, memory=Memory.OWN))["-object"][0]


def test_size_reaches_processors_and_memory() -> None:
    found = options(RESTORED)
    assert found["-smp"] == ["2"]
    assert found["-m"] == ["512"]
    assert f"size={512 << 20}," in found["-object"][0]


def test_equal_devices_in_template_and_copy() -> None:
    """A state fits only the machine that it was saved from."""
    device_options = ("-M", "-cpu", "-smp", "-m", "-device", "-netdev", "-serial", "-accel")
    saved, restored = options(BOOTED), options(RESTORED)
    assert {name: saved[name] for name in device_options} == {name: restored[name] for name in device_options}


def test_the_guest_has_no_second_network_protocol() -> None:
    assert "ipv6.disable=1" in boot_arguments(BOOTED).split()


def test_limits_grow_with_the_machine_but_stay_finite() -> None:
    small = {name: soft for name, soft, _ in limits(RESTORED)}
    large = {name: soft for name, soft, _ in limits(replace(RESTORED, size=VmSize(2, 4096, 65536)))}
    assert all(0 <= small[name] <= large[name] < 1 << 40 for name in small)
    assert all(soft == hard for _, soft, hard in limits(RESTORED))
