"""What an image is made of, and the digests that name it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hostd.ports import VmSize

VERSION = 1
"""Raised when the build itself changes what comes out of the same recipe."""

KERNEL_MODULES = (
    "virtio_ring", "virtio", "virtio_mmio", "virtio_blk", "failover", "net_failover", "virtio_net", "overlay",
    "squashfs", "crc16", "crc32c_generic", "mbcache", "jbd2", "ext4",
)  # fmt: skip
"""In the order in which the initramfs loads them; what a kernel has built in is left out."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Debian root file system with `packages`; sizes are the defaults of its VMs."""

    name: str
    suite: str
    packages: tuple[str, ...]
    size: VmSize


DEFAULT = Recipe(
    name="default",
    suite="bookworm",
    packages=("ca-certificates", "git", "make", "python3", "python3-pytest", "python3-venv"),
    size=VmSize(vcpus=1, memory_mib=512, disk_mib=4096),
)

RECIPES = {DEFAULT.name: DEFAULT}


def base_key(recipe: Recipe) -> str:
    """Names what is expensive to build: kernel, modules and root file system, without the guest runtime."""
    inputs = {"version": VERSION, "suite": recipe.suite, "packages": sorted(recipe.packages), "modules": KERNEL_MODULES}
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def image_key(recipe: Recipe, init: str, runtime: Path) -> str:
    """Names the whole image: the base, the init script and every source of the guest runtime."""
    digest = hashlib.sha256(json.dumps([base_key(recipe), asdict(recipe.size), init]).encode())
    for name, content in runtime_files(runtime):
        digest.update(f"{len(name)}:{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def runtime_files(runtime: Path) -> Iterator[tuple[str, bytes]]:
    """Relative path and content of every file of the runtime, sorted, caches left out."""
    for path in sorted(runtime.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(runtime).as_posix(), path.read_bytes()
