"""The same tests for every store. PostgreSQL joins by one more maker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from controlplane.events.bus import LocalBus
from controlplane.ports import Store
from controlplane.stores.sqlite import SqliteStore

Reopen = Callable[[Store], Awaitable[Store]]


@pytest.fixture
def bus() -> LocalBus:
    return LocalBus()


@pytest.fixture(params=["sqlite", "sqlite-inline"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def store(kind: str, bus: LocalBus, tmp_path: Path) -> AsyncIterator[Store]:
    made = SqliteStore(":memory:", bus, inline=True) if kind == "sqlite-inline" else SqliteStore(tmp_path / "a.db", bus)
    await made.open()
    yield made
    await made.close()
