from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, as Unix sockets need, that git without privileges can reach."""
    with tempfile.TemporaryDirectory(prefix="swarm-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "state"
