"""What lies ready on hosts: images, and the templates baked from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Image:
    """A root file system with its default VM size; sizes in MiB, times in epoch seconds."""

    name: str
    digest: str
    host_id: str
    size_bytes: int
    vcpus: int
    memory_mib: int
    disk_mib: int
    built_at: float


@dataclass(frozen=True, slots=True)
class Template:
    """A VM of one image and size, frozen at the point where it waits for work."""

    digest: str
    image: str
    image_digest: str
    host_id: str
    driver: str
    driver_version: str
    vcpus: int
    memory_mib: int
    size_bytes: int
    baked_at: float
