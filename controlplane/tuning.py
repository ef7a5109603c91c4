"""What of the configuration can be changed while it runs, and keeping it applied."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from controlplane.config import OPTIONS, Config
from controlplane.domain.setting import Setting
from controlplane.errors import SwarmError
from controlplane.ports import Bus, Store
from controlplane.tasks import end
from controlplane.usecases.settings import Settings, stored

TIERS: Final = {
    "rate_limit": "global",
    "rate_limit_auth": "auth",
    "rate_limit_ai": "ai",
    "rate_limit_lease": "lease",
}
CHANGEABLE: Final = frozenset({*TIERS, "retention_days", "branch_retention_days"})

log = logging.getLogger(__name__)


def settings_of(config: Config) -> Settings:
    """All that it was started with, as people read it."""
    given = [
        Setting(
            name=name,
            value=written(getattr(config, name)),
            source=config.sources.get(name, "default"),
            help=option.help,
            changeable=name in CHANGEABLE,
        )
        for name, option in OPTIONS.items()
    ]
    return Settings(given, lambda name, value: OPTIONS[name].parse(value))


def written(value: Any) -> str:
    """As on the command line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value)
    return str(value.absolute() if isinstance(value, Path) else value)


class Tuner:
    """`limits` are calls per minute by tier, as they are now. `apply` is told every changeable value, by name."""

    def __init__(self, store: Store, bus: Bus, config: Config) -> None:
        self._store = store
        self._bus = bus
        self._given = {name: getattr(config, name) for name in CHANGEABLE}
        self.limits = {tier: int(self._given[name]) for name, tier in TIERS.items()}
        self.apply: Callable[[Mapping[str, Any]], None] = lambda _: None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        changes = self._bus.subscribe("settings")
        await self.refresh()
        self._task = asyncio.create_task(self._follow(changes), name="settings")

    async def stop(self) -> None:
        await end(self._task)

    async def refresh(self) -> None:
        """What was committed counts when this returns."""
        changed = await self._store.read(stored)
        values = {**self._given, **dict(self._readable(changed))}
        self.limits.update({tier: values[name] for name, tier in TIERS.items()})
        self.apply(values)

    def _readable(self, changed: Mapping[str, str]) -> list[tuple[str, Any]]:
        """An older version may know less, or take less, than what was stored."""
        found = []
        for name in CHANGEABLE.intersection(changed):
            try:
                found.append((name, OPTIONS[name].parse(changed[name])))
            except ValueError as fault:
                log.warning("the stored value of %s is left out: %s", name, fault)
        return found

    async def _follow(self, changes: Any) -> None:
        async for _ in changes:
            try:
                await self.refresh()
            except SwarmError as fault:
                log.warning("changed settings could not be read: %s", fault)
