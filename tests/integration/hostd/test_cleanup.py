"""What a hostd that died left behind goes by itself, and the control plane is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostd import record
from hostd.drivers.sim import process
from hostd.drivers.sim.vm import Handle
from hostd.ports import VmSize
from tests.fakes.control_plane import ControlPlane, until
from tests.integration.hostd.conftest import Hosts

LONG_AGO = time.time() - 8 * 86400


@pytest.fixture
def guest() -> Iterator[subprocess.Popen[bytes]]:
    """A process that nobody waits for."""
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    yield started
    started.kill()
    started.wait()


def orphan(folder: Path, pid: int) -> None:
    """The folder of a VM whose guest is the process `pid`."""
    folder.mkdir(parents=True)
    found = process.identify(pid)
    handle = Handle(folder.name, "", "default", "", VmSize(), 1, 1, 1, found.pid, found.start_ticks)
    (folder / "handle.json").write_bytes(record.encode(handle))


def old(path: Path) -> Path:
    path.touch()
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


async def test_orphans_and_leftovers_go_and_the_rest_stays(
    control: ControlPlane, hosts: Hosts, folder: Path, guest: subprocess.Popen[bytes]
) -> None:
    await hosts("state", "--cleanup-every-s", "0.5").start()
    host = await control.host()
    await until(lambda: host.of("cleaned"), "a first cleanup is reported")
    state = folder / "state"
    kept = [state / "attempts" / "at_new.damaged", state / "bundles" / "bundle.tar"]
    kept[0].touch()
    old(kept[1])
    gone = [old(state / "attempts" / "at_old.damaged"), old(state / "bundles" / ".part_1")]
    foreign = folder / "other" / "vms" / "vm_other"
    orphan(foreign, os.getpid())
    (state / "git" / "staging" / "at_lost.git").mkdir()
    orphan(state / "vms" / "vm_orphan", guest.pid)
    await until(lambda: any(each.report.vms for each in host.of("cleaned")), "the guest of the orphan is ended", 30)
    assert guest.wait(10) < 0
    await until(lambda: not any(path.exists() for path in gone), "leftovers are removed", 30)
    told = [line for each in host.of("cleaned") for line in each.report.details]
    assert {"ended the guest of vm_orphan", "removed vm_orphan", "removed at_old.damaged"} <= set(told)
    assert "removed the staging repository of at_lost" in told
    assert all(path.exists() for path in (*kept, foreign / "handle.json"))
    assert not (state / "vms" / "vm_orphan").exists()
    assert not any(each.error for each in host.of("cleaned"))
