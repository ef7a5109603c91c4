from __future__ import annotations

from pathlib import Path

from hostd.pool.cgroup import MIB, OVERHEAD_MIB, Cgroups, Mount, hierarchies, values
from hostd.ports import VmSize

V1 = """\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
SIZE = VmSize(2, 512, 4096)


def test_version_2_is_one_hierarchy_for_all() -> None:
    found = hierarchies(V2, {"/sys/fs/cgroup": "cpuset cpu io memory pids\n"})
    assert found == [Mount(Path("/sys/fs/cgroup"), 2, ("cpu", "memory", "pids"))]


def test_version_1_is_used_where_version_2_offers_nothing() -> None:
    found = hierarchies(V1, {"/sys/fs/cgroup/unified": "hugetlb\n"})
    assert [(mount.version, mount.controllers) for mount in found] == [
        (1, ("cpu",)),
        (1, ("memory",)),
        (1, ("pids",)),
    ]


def test_limits_hold_the_guest_and_its_vmm() -> None:
    both = values(Mount(Path("/x"), 2, ("cpu", "memory", "pids")), SIZE)
    assert int(both["memory.max"]) == (2 * 512 + OVERHEAD_MIB) * MIB
    assert both["cpu.max"] == "250000 100000"
    assert values(Mount(Path("/x"), 1, ("memory",)), SIZE) == {"memory.limit_in_bytes": both["memory.max"]}


def test_groups_are_found_by_name_and_removed(tmp_path: Path) -> None:
    groups = Cgroups("here", [Mount(tmp_path, 1, ("pids",))])
    groups.open()
    (procs,) = groups.create("vm_1", SIZE)
    assert procs == bytes(tmp_path / "swarm/here/vm_1/cgroup.procs")
    assert groups.ids() == {"vm_1"}
    (tmp_path / "swarm/here/vm_1/pids.max").unlink()  # the kernel's files are no obstacle to rmdir, these are
    assert groups.remove("vm_1")
    assert groups.remove("vm_1"), "again is harmless"
    groups.close()
    assert list(tmp_path.iterdir()) == []


def test_a_hierarchy_that_cannot_be_written_is_given_up_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "swarm").write_text("in the way")
    groups = Cgroups("here", [Mount(tmp_path, 1, ("pids",))])
    groups.open()
    assert groups.create("vm_1", SIZE) == ()
    assert any("cannot be used" in warning for warning in groups.warnings)
