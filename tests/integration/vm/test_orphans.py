"""What a hostd that died left behind goes; what is of others stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hostd.pool import orphans
from hostd.pool.cgroup import Cgroups
from hostd.pool.slots import Slots, process_name
from hostd.ports import VmSize

SIZE = VmSize(1, 128, 64)
IDLE = "import sys, time; sys.stdout.write('up'); sys.stdout.flush(); time.sleep(600)"


def vmm(scope: str, vm_id: str, procs: tuple[bytes, ...] = (), *, marked: bool = True) -> subprocess.Popen[bytes]:
    """A process that looks like a VMM, in a network namespace of its own and in the cgroups of `vm_id`."""
    name = [f"guest={process_name(scope, vm_id)}"] if marked else []
    started = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", IDLE, *name], stdout=subprocess.PIPE, start_new_session=True
    )
    assert started.stdout is not None
    assert started.stdout.read(2) == b"up"
    for path in procs:
        Path(os.fsdecode(path)).write_text(str(started.pid))
    return started


async def test_orphans_of_this_host_go_and_those_of_others_stay(tmp_path: Path, cgroups: Cgroups, slots: Slots) -> None:
    scope = f"test-{os.getpid()}"
    foreign_groups = Cgroups.of_machine(f"{scope}-other")
    foreign_groups.open()
    for vm_id in ("vm_dead", "vm_live", "vm_files"):
        (tmp_path / "vms" / vm_id).mkdir()
    dead = vmm(scope, "vm_dead", cgroups.create("vm_dead", SIZE))
    hidden = vmm(scope, "vm_hidden", cgroups.create("vm_hidden", SIZE), marked=False)
    live = vmm(scope, "vm_live", cgroups.create("vm_live", SIZE))
    foreign = vmm(f"{scope}-other", "vm_dead", foreign_groups.create("vm_dead", SIZE))
    grouped = bool(cgroups.ids())
    try:
        counts = await orphans.remove(scope, {"vm_live"}, tmp_path / "vms", cgroups, slots)
        assert dead.poll() is not None
        assert live.poll() is foreign.poll() is None
        assert (counts.vms, counts.namespaces, counts.cgroups) == ((2, 2, 2) if grouped else (1, 1, 0))
        assert (hidden.poll() is not None) == grouped
        assert cgroups.ids() == ({"vm_live"} if grouped else set())
        assert foreign_groups.ids() == ({"vm_dead"} if grouped else set())
        assert [path.name for path in (tmp_path / "vms").iterdir()] == ["vm_live"]
        again = await orphans.remove(scope, {"vm_live"}, tmp_path / "vms", cgroups, slots)
        assert again == type(again)()
    finally:
        for process in (dead, hidden, live, foreign):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        cgroups.remove("vm_live")
        foreign_groups.remove("vm_dead")
        foreign_groups.close()
