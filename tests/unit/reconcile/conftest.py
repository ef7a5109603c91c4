from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controlplane.events.bus import LocalBus
from controlplane.ports import Store
from controlplane.stores.sqlite import SqliteStore
from tests.fakes.fleet import FakeFleet, FakeForge
from tests.fakes.seeds import NOW, a_host, a_project, an_agent


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bus() -> LocalBus:
    return LocalBus()


@pytest.fixture
async def store(bus: LocalBus, clock: Clock) -> AsyncIterator[Store]:
    """A store without threads, with one project, one host and the agent echo."""
    made = SqliteStore(":memory:", bus, inline=True, clock=clock)
    await made.open()
    await made.write(lambda tx: tx.add_agent(an_agent("echo"), b""))
    await made.write(lambda tx: tx.add_project(a_project(1, test_command="make test")))
    await made.write(lambda tx: tx.save_host(a_host(1)))
    yield made
    await made.close()


@pytest.fixture
def fleet() -> FakeFleet:
    return FakeFleet({"hs_1"})


@pytest.fixture
def forge() -> FakeForge:
    return FakeForge()
