"""A simulated guest that is killed takes along what it started, as a machine would."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostd.drivers.sim.process import kill_strays


@pytest.fixture
def children(tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """A process in the folder of each of two VMs, and one beside them."""
    places = {"vm_1": tmp_path / "vms/vm_1/scratch", "vm_2": tmp_path / "vms/vm_2", "beside": tmp_path / "other"}
    for place in places.values():
        place.mkdir(parents=True)
    found = {name: subprocess.Popen(["sleep", "60"], cwd=place) for name, place in places.items()}
    yield found
    for each in found.values():
        each.kill()
        each.wait()


def test_what_stands_in_the_folder_of_a_vm_is_ended(
    children: dict[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    kill_strays(tmp_path / "vms/vm_1")
    assert children["vm_1"].wait(10) < 0
    assert children["vm_2"].poll() is None
    kill_strays(tmp_path / "vms", frozenset({"vm_2"}))
    assert children["vm_2"].poll() is None
    kill_strays(tmp_path / "vms")
    assert children["vm_2"].wait(10) < 0
    assert children["beside"].poll() is None
