from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hostd.drivers.qemu import driver
from hostd.errors import UnsupportedError
from hostd.images.store import OpenImage
from hostd.pool import probe
from hostd.ports import Isolation, Progress, VmSize


def image(digest: str) -> OpenImage:
    return cast("OpenImage", SimpleNamespace(digest=digest, manifest=SimpleNamespace(size=VmSize(1, 128, 64))))


def nothing(_: Progress) -> None:
    return


@pytest.fixture
def booted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Each entry is one boot under KVM; the list's first item, if any, is why it fails."""
    boots: list[str] = []

    async def find() -> tuple[str, str]:
        return "/usr/bin/qemu", "7.2"

    async def play(*args: Any) -> str:
        boots.append("boot")
        return "the guest did not come up within 4 s" if "fails" in boots else ""

    device = tmp_path / "kvm"
    device.touch()
    device.chmod(0o666)
    monkeypatch.setattr(probe, "find", find)
    monkeypatch.setattr(probe, "boots", play)
    monkeypatch.setattr(probe, "KVM", device)
    monkeypatch.setattr(driver, "KVM", device)
    return boots


async def choose(accel: str, digest: str, remembered: Path) -> tuple[Isolation, list[str]]:
    chosen, remarks = await probe.choose(accel, image(digest), cast("Any", None), remembered, nothing)
    return chosen.isolation, remarks


async def test_a_boot_proves_kvm_and_is_remembered(booted: list[str], tmp_path: Path) -> None:
    remembered = tmp_path / "probe.json"
    assert await choose("auto", "a", remembered) == (Isolation.KVM_QEMU, [])
    assert await choose("auto", "a", remembered) == (Isolation.KVM_QEMU, [])
    assert booted == ["boot"]
    await choose("auto", "b", remembered)
    assert booted == ["boot", "boot"], "another image is another proof"


async def test_a_device_that_does_not_boot_a_guest_means_emulation(booted: list[str], tmp_path: Path) -> None:
    booted.append("fails")
    isolation, remarks = await choose("auto", "a", tmp_path / "probe.json")
    assert isolation is Isolation.TCG
    assert any("did not come up" in remark for remark in remarks)
    assert any("no security boundary" in remark for remark in remarks)


async def test_kvm_can_be_demanded(booted: list[str], tmp_path: Path) -> None:
    booted.append("fails")
    with pytest.raises(UnsupportedError, match="did not come up"):
        await choose("kvm", "a", tmp_path / "probe.json")


async def test_emulation_can_be_demanded_without_a_boot(booted: list[str], tmp_path: Path) -> None:
    isolation, _ = await choose("tcg", "a", tmp_path / "probe.json")
    assert isolation is Isolation.TCG
    assert booted == []


async def test_a_damaged_memory_of_the_probe_is_only_a_boot_more(booted: list[str], tmp_path: Path) -> None:
    remembered = tmp_path / "probe.json"
    remembered.write_bytes(b"{}")
    assert (await choose("auto", "a", remembered))[0] is Isolation.KVM_QEMU
    assert booted == ["boot"]


async def test_without_the_device_nothing_is_booted(
    booted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "KVM", tmp_path / "nowhere")
    isolation, remarks = await choose("auto", "a", tmp_path / "probe.json")
    assert isolation is Isolation.TCG
    assert any("no /dev/kvm" in remark for remark in remarks)
    assert booted == []


async def test_a_device_that_only_root_may_open_is_not_tried(booted: list[str], tmp_path: Path) -> None:
    driver.KVM.chmod(0o600)
    isolation, remarks = await choose("auto", "a", tmp_path / "probe.json")
    assert isolation is Isolation.TCG
    assert any("chgrp kvm" in remark for remark in remarks)
    assert booted == []


def test_a_vmm_gets_the_group_of_the_device_only_where_it_needs_it(booted: list[str]) -> None:
    assert driver.kvm_group(64016) == 64016
    if os.geteuid() == 0:
        os.chown(driver.KVM, 0, 107)
        driver.KVM.chmod(0o660)
        assert driver.kvm_group(64016) == 107
        os.chown(driver.KVM, 0, 0)
        assert driver.kvm_group(64016) is None, "the root group opens more than this device"
    driver.KVM.chmod(0o600)
    assert driver.kvm_group(64016) is None
