from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from swarm_sdk import Client
from tests.fakes.control import Control, control_plane
from tests.fakes.host import FakeHost


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, as Unix sockets need."""
    with tempfile.TemporaryDirectory(prefix="swarm-") as folder:
        yield Path(folder) / "state"


@pytest.fixture
async def control(home: Path) -> AsyncIterator[Control]:
    async with control_plane(home, cors_origins=("https://console.example.org",)) as running:
        yield running


@pytest.fixture
async def client(control: Control) -> AsyncIterator[Client]:
    async with control.client() as opened:
        yield opened


@pytest.fixture
async def host(control: Control) -> AsyncIterator[FakeHost]:
    async with control.host() as attached:
        yield attached


@pytest.fixture
async def web(control: Control) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the admin that decompresses nothing."""
    headers = {"Authorization": f"Bearer {control.token()}"}
    async with aiohttp.ClientSession(control.url, headers=headers, auto_decompress=False) as session:
        yield session


@pytest.fixture
async def stranger(control: Control) -> AsyncIterator[aiohttp.ClientSession]:
    """A client without a credential."""
    async with aiohttp.ClientSession(control.url) as session:
        yield session
