from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.brokerage import Brokerage, brokerage, make_upstream


@pytest.fixture
async def house() -> AsyncIterator[Brokerage]:
    async with brokerage() as house:
        house.upstream = make_upstream(house.root / "upstream")
        yield house
