"""What use cases that wait for the outside are given."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.ports import Bus, Fleet, Forge, Store


@dataclass(frozen=True, slots=True)
class Services:
    store: Store
    bus: Bus
    fleet: Fleet
    forge: Forge
