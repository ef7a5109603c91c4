"""What a template is, written down beside it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from hostd import record
from hostd.ports import Template, VmSize

VERSION = 1


@dataclass(frozen=True, slots=True)
class Identity:
    """A saved machine is loaded only where every one of these is equal."""

    image: str
    image_digest: str
    driver: str
    driver_version: str
    machine: str
    cpu_class: str
    vcpus: int
    memory_mib: int
    disk_mib: int

    @property
    def size(self) -> VmSize:
        return VmSize(self.vcpus, self.memory_mib, self.disk_mib)


@dataclass(frozen=True, slots=True)
class Content:
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """`working_set`: (offset, length) ranges of the memory that a VM touches up to its first request."""

    version: int
    identity: Identity
    memory: Content
    state: Content
    working_set: tuple[tuple[int, ...], ...]
    baked_ns: int

    @property
    def digest(self) -> str:
        """Names the template; covers all but the remarks that do not change what is restored."""
        return hashlib.sha256(record.encode(replace(self, working_set=(), baked_ns=0))).hexdigest()

    def template(self) -> Template:
        who = self.identity
        total = self.memory.size_bytes + self.state.size_bytes
        return Template(
            self.digest,
            who.image,
            who.image_digest,
            who.driver,
            who.driver_version,
            who.vcpus,
            who.memory_mib,
            total,
            self.baked_ns,
        )
