"""Hosts as the scheduler sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controlplane.domain.ticket import Isolation


class HostState(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    CORDONED = "cordoned"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Capacity:
    vms: int = 0
    vcpus: int = 0
    memory_mib: int = 0
    disk_mib: int = 0


@dataclass(frozen=True, slots=True)
class Host:
    """`used` is what is leased to it now, counted by the control plane, not what it reports."""

    id: str
    name: str
    state: HostState
    isolation: Isolation
    capacity: Capacity
    used: Capacity = field(default_factory=Capacity)
    labels: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    version: str = ""
    boot_id: str = ""
    warnings: tuple[str, ...] = ()
    last_seen_at: float = 0.0
    joined_at: float = 0.0
