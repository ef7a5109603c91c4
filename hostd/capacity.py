"""What this machine offers, as far as the configuration does not say so itself."""

from __future__ import annotations

import os
from pathlib import Path

from hostd.config import Config
from hostd.messages import Capacity

# Agents mostly wait for their model and for the network.
VCPUS_PER_CORE = 8
SHARE = 0.8


def capacity(config: Config) -> Capacity:
    """Configured numbers, else shares of the machine's."""
    return Capacity(
        vms=config.max_vms,
        vcpus=config.vcpus or (os.cpu_count() or 1) * VCPUS_PER_CORE,
        memory_mib=config.memory_mib or int(_memory_mib() * SHARE),
        disk_mib=config.disk_mib or int(_free_disk_mib(config.state_dir) * SHARE),
    )


def _memory_mib() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20


def _free_disk_mib(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize >> 20
