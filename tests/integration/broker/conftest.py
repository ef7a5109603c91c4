from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hostd.ports import Limits
from tests.fakes.brokerage import Brokerage, brokerage, make_upstream


@pytest.fixture
async def house() -> AsyncIterator[Brokerage]:
    async with brokerage() as house:
        house.upstream = make_upstream(house.root / "upstream")
        yield house


@pytest.fixture
async def house_of_many(house: Brokerage) -> Brokerage:
    """One guest that may do wrong as often as it likes."""
    await house.attach("at_1", limits=Limits(violations=10**9))
    return house
