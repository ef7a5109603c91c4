"""Settings of the VM layer."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from hostd.images.store import RUNTIME
from hostd.pool.marks import Marks

MIB = 1 << 20
SHARE = 0.8


def physical_share() -> int:
    """MiB of memory that VMs may promise their guests: most of the machine."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * SHARE) // MIB


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """`state_dir` holds images/, templates/, vms/ and run/. `accel`: auto, kvm, tcg. `open` makes `prepare` ready."""

    state_dir: Path
    instance: str = "default"
    uid_base: int = 64000
    max_vms: int = 8
    max_memory_mib: int = field(default_factory=physical_share)
    marks: Marks = field(default_factory=Marks)
    accel: str = "auto"
    prepare: str = "default"
    runtime: Path = RUNTIME
    cold: bool = False
    """Boot every VM, as a machine without templates would; for comparison."""
    cache_budget_mib: int = 0
    """What images and templates may take; 0: nothing bounds them."""
    cache_dir: Path | None = None
    """Where images and templates are instead of the state directory; several hosts may share it."""

    @property
    def scope(self) -> str:
        """Tells this hostd's processes and cgroups from those of every other on the machine."""
        place = hashlib.sha256(os.fsencode(self.state_dir.resolve())).hexdigest()[:8]
        return f"{self.instance}-{place}"

    @property
    def images(self) -> Path:
        return (self.cache_dir or self.state_dir) / "images"

    @property
    def templates(self) -> Path:
        return (self.cache_dir or self.state_dir) / "templates"

    @property
    def vms(self) -> Path:
        return self.state_dir / "vms"

    @property
    def disks(self) -> Path:
        return self.state_dir / "run" / "disks"

    @property
    def probe(self) -> Path:
        return self.images / "probe.json"
