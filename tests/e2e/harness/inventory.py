"""What a deployment has on the machine: processes, namespaces, devices, control groups, sockets, files of VMs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from hostd.pool.config import PoolConfig
from hostd.pool.slots import process_name

CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Inventory:
    """Each item names itself well enough to be looked for by hand."""

    vmms: frozenset[str]
    processes: frozenset[str]
    namespaces: frozenset[str]
    taps: frozenset[str]
    cgroups: frozenset[str]
    sockets: frozenset[str]
    vm_files: frozenset[str]

    def beyond(self, before: Inventory) -> dict[str, frozenset[str]]:
        """What is here and was not there before, by kind; empty when nothing was left."""
        kinds = [field.name for field in fields(self)]
        found = {kind: getattr(self, kind) - getattr(before, kind) for kind in kinds}
        return {kind: more for kind, more in found.items() if more}


def take(state: Path, host_dirs: dict[str, Path]) -> Inventory:
    """What belongs to the deployment in `state`, whose hosts have these names and state directories."""
    scopes = [PoolConfig(state_dir=folder, instance=name).scope for name, folder in host_dirs.items()]
    owned = {pid: words for pid, words in command_lines().items() if _mentions(pid, words, state)}
    vmms = {pid: words for pid, words in command_lines().items() if any(process_name(s, "") in words for s in scopes)}
    return Inventory(
        vmms=frozenset(f"{pid} {words[:200]}" for pid, words in vmms.items()),
        processes=frozenset(f"{pid} {words[:200]}" for pid, words in owned.items()),
        namespaces=frozenset(_namespaces(vmms)),
        taps=frozenset(path.name for path in Path("/sys/class/net").iterdir() if (path / "tun_flags").exists()),
        cgroups=frozenset(str(path) for scope in scopes for path in CGROUPS.glob(f"**/swarm/{scope}/vm_*")),
        sockets=frozenset(line.split()[-1] for line in _lines("/proc/net/unix") if str(state) in line),
        vm_files=frozenset(str(path) for folder in host_dirs.values() for path in folder.glob("vms/*")),
    )


def command_lines() -> dict[int, str]:
    """Arguments of every process but this one, by pid."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdecimal() and int(path.name) != os.getpid():
            with suppress(OSError):
                words = (path / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(path.name)] = words.decode(errors="replace")
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    return False


def vm_pid(host_dir: Path, vm_id: str) -> int:
    """Pid of the process that is a VM: its VMM, or the guest runtime that plays it."""
    for pid, words in command_lines().items():
        if f":{vm_id}" in words:
            return pid
    handle = json.loads((host_dir / "vms" / vm_id / "handle.json").read_bytes())
    return int(handle["pid"])


def _mentions(pid: int, words: str, state: Path) -> bool:
    """Whether a process names the state directory in its arguments, or stands in it."""
    if str(state) in words:
        return True
    with suppress(OSError):
        return str(state) in str(Path(f"/proc/{pid}/cwd").readlink())
    return False


def _namespaces(vmms: dict[int, str]) -> Iterator[str]:
    """Network namespaces of VMMs, and those that a name keeps."""
    for pid in vmms:
        with suppress(OSError):
            yield str(Path(f"/proc/{pid}/ns/net").readlink())
    yield from (str(path) for path in Path("/run/netns").glob("*"))


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
