from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostd.pool.cgroup import Cgroups
from hostd.pool.disk import Disks
from hostd.pool.identity import Uids
from hostd.pool.slots import Slots


@pytest.fixture(autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("slots and templates need root")


@pytest.fixture
def cgroups() -> Iterator[Cgroups]:
    groups = Cgroups.of_machine(f"test-{os.getpid()}")
    groups.open()
    yield groups
    groups.close()


@pytest.fixture
def slots(tmp_path: Path, cgroups: Cgroups) -> Iterator[Slots]:
    uids = Uids(91000)
    (tmp_path / "vms").mkdir()
    yield Slots(f"test-{os.getpid()}", tmp_path / "vms", Disks(tmp_path / "disks"), cgroups, uids)
    uids.close()
