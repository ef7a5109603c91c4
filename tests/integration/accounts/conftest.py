from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.control import control_plane
from tests.integration.accounts.people import Town

UNLIMITED = {"rate_limit": 100_000, "rate_limit_auth": 100_000}


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, as Unix sockets need."""
    with tempfile.TemporaryDirectory(prefix="swarm-") as folder:
        yield Path(folder) / "state"


@pytest.fixture
async def town(home: Path) -> AsyncIterator[Town]:
    async with control_plane(home, **UNLIMITED) as control, control.client() as admin:
        made = Town(control, admin)
        yield made
        for client in made.opened:
            await client.close()
