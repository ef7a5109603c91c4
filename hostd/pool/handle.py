"""What is written down about a running VM, so that a restarted hostd finds it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hostd import record
from hostd.drivers.port import VmmHandle
from hostd.ports import Tier, VmSize
from hostd.statedir import write_atomic

NAME = "handle.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Handle:
    """`attempt_id` is empty for a VM that was booted by hand."""

    version: int
    vm_id: str
    attempt_id: str
    image: str
    template: str
    size: VmSize
    uid: int
    tier: Tier
    created_ns: int
    driver: str
    vmm: VmmHandle


def save(folder: Path, handle: Handle) -> None:
    write_atomic(folder / NAME, record.encode(handle))


def load(folder: Path) -> Handle:
    """The handle in a VM's folder. `DamagedStateError`, `FileNotFoundError`."""
    return record.load(Handle, folder / NAME, "the VM is ended")
