from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controlplane.domain.call import Call
from controlplane.events.bus import LocalBus
from controlplane.ports import Store
from controlplane.stores.sqlite import SqliteStore
from controlplane.usecases.services import Services
from tests.fakes.fleet import FakeFleet, FakeForge
from tests.fakes.seeds import NOW, a_call, an_agent


@pytest.fixture
def call() -> Call:
    return a_call()


@pytest.fixture
def bus() -> LocalBus:
    return LocalBus()


@pytest.fixture
async def store(bus: LocalBus) -> AsyncIterator[Store]:
    """A store without threads, on a clock that stands, with the agents echo and shell."""
    made = SqliteStore(":memory:", bus, inline=True, clock=lambda: NOW)
    await made.open()
    schema = {"type": "object", "properties": {"script": {"type": "string"}}, "required": ["script"]}
    await made.write(lambda tx: tx.add_agent(an_agent("echo"), b""))
    await made.write(lambda tx: tx.add_agent(an_agent("shell", input_schema=schema), b""))
    yield made
    await made.close()


@pytest.fixture
def fleet() -> FakeFleet:
    return FakeFleet()


@pytest.fixture
def forge() -> FakeForge:
    return FakeForge()


@pytest.fixture
def services(store: Store, bus: LocalBus, fleet: FakeFleet, forge: FakeForge) -> Services:
    return Services(store, bus, fleet, forge)
