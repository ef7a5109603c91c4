from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.leaks import nothing_left


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with nothing_left():
        yield
