from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.leaks import nothing_left


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("namespaces and other users' processes need root")
    if not Path("/dev/net/tun").exists():
        pytest.skip("there is no /dev/net/tun: load the tun module")
    with nothing_left():
        yield
