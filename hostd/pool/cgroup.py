"""One cgroup per VM, named after it: version 2 where the machine has it, else what version 1 offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hostd.ports import VmSize

MIB = 1 << 20
OVERHEAD_MIB = 384
"""What a VMM needs beside its guest's memory: translated code, heap, device buffers."""
MOST_TASKS = 128
UNIFIED = 2
CONTROLLERS = ("cpu", "memory", "pids")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted hierarchy: controllers it offers, version 1 or 2."""

    path: Path
    version: int
    controllers: tuple[str, ...]


def hierarchies(mounts: str, unified: Mapping[str, str]) -> list[Mount]:
    """Hierarchies to use, from the text of /proc/self/mounts and `cgroup.controllers` by version 2 mount point."""
    chosen: dict[str, Mount] = {}
    for line in mounts.splitlines():
        _, path, kind, options, *_ = line.split()
        if kind == "cgroup2":
            offered = tuple(name for name in CONTROLLERS if name in unified.get(path, "").split())
            chosen |= {name: Mount(Path(path), 2, offered) for name in offered}
        elif kind == "cgroup":
            for name in CONTROLLERS:
                if name in options.split(","):
                    chosen.setdefault(name, Mount(Path(path), 1, (name,)))
    return list(dict.fromkeys(chosen.values()))


def values(mount: Mount, size: VmSize) -> dict[str, str]:
    """File names and contents that bound one VM in a hierarchy."""
    # Twice: the first guest to touch a page that the template left empty pays for the shared page and for its own copy.
    memory = str((2 * size.memory_mib + OVERHEAD_MIB) * MIB)
    quota, period = size.vcpus * 100_000 + 50_000, 100_000  # half a CPU more for the devices
    by_version = {
        UNIFIED: {"cpu": ("cpu.max", f"{quota} {period}"), "memory": ("memory.max", memory)},
        1: {"cpu": ("cpu.cfs_quota_us", str(quota)), "memory": ("memory.limit_in_bytes", memory)},
    }[mount.version]
    by_version["pids"] = ("pids.max", str(MOST_TASKS))
    return dict(by_version[name] for name in mount.controllers)


class Cgroups:
    """Creates and removes the cgroups ``swarm/<scope>/<vm_id>``; `warnings` says what this machine lacks."""

    def __init__(self, scope: str, mounts: Sequence[Mount]) -> None:
        self._scope = scope
        self._mounts = list(mounts)
        self.warnings: list[str] = []
        self.is_open = False

    @classmethod
    def of_machine(cls, scope: str) -> Cgroups:
        text = Path("/proc/self/mounts").read_text()
        unified = {}
        for line in text.splitlines():
            _, path, kind, *_ = line.split()
            if kind == "cgroup2":
                with suppress(OSError):
                    unified[path] = (Path(path) / "cgroup.controllers").read_text()
        return cls(scope, hierarchies(text, unified))

    def open(self) -> None:
        """Make the parents. A hierarchy that cannot be written is given up with a warning."""
        self.is_open = True
        for mount in list(self._mounts):
            try:
                self._make_parent(mount)
            except OSError as error:
                self._mounts.remove(mount)
                self.warnings.append(f"cgroup {mount.path} cannot be used: {error.strerror}")
        missing = set(CONTROLLERS) - {name for mount in self._mounts for name in mount.controllers}
        if missing:
            self.warnings.append(f"no cgroup controller for {', '.join(sorted(missing))}: only rlimits bound it")
        if any(mount.version == 1 for mount in self._mounts):
            self.warnings.append("cgroup version 1 is in use; version 2 isolates better")

    def create(self, vm_id: str, size: VmSize) -> tuple[bytes, ...]:
        """Paths of the ``cgroup.procs`` files that the VMM has to enter."""
        procs = []
        for mount in self._mounts:
            path = self._parent(mount) / vm_id
            path.mkdir(exist_ok=True)
            for name, value in values(mount, size).items():
                (path / name).write_text(value)
            procs.append(bytes(path / "cgroup.procs"))
        return tuple(procs)

    def remove(self, vm_id: str) -> bool:
        """Whether it is gone from every hierarchy; it stays while a process in it has not been reaped."""
        gone = True
        for mount in self._mounts:
            try:
                (self._parent(mount) / vm_id).rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone

    def pids(self, vm_id: str) -> set[int]:
        """Processes in the cgroup of a VM."""
        found: set[int] = set()
        for mount in self._mounts:
            with suppress(OSError):
                found |= {int(pid) for pid in (self._parent(mount) / vm_id / "cgroup.procs").read_text().split()}
        return found

    def ids(self) -> set[str]:
        """VMs that have a cgroup."""
        return {path.name for mount in self._mounts for path in self._parent(mount).glob("vm_*")}

    def close(self) -> None:
        """Remove the parents if they are empty."""
        for mount in self._mounts:
            with suppress(OSError):
                self._parent(mount).rmdir()
                self._parent(mount).parent.rmdir()

    def _parent(self, mount: Mount) -> Path:
        return mount.path / "swarm" / self._scope

    def _make_parent(self, mount: Mount) -> None:
        parent = self._parent(mount)
        parent.mkdir(parents=True, exist_ok=True)
        if mount.version == UNIFIED:
            switch = " ".join(f"+{name}" for name in mount.controllers)
            for path in (mount.path, parent.parent, parent):
                (path / "cgroup.subtree_control").write_text(switch)
