"""The `swarm` command in this process, with streams of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from swarm_cli.main import main

Swarm = Callable[..., Result]


@pytest.fixture
def swarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Swarm:
    """Runs `swarm ARGS...` for a deployment that does not run; its state directory is empty."""
    monkeypatch.setenv("SWARM_STATE_DIR", str(tmp_path / "state"))
    for name in ("SWARM_TARGET", "SWARM_TOKEN_FILE", "SWARM_CA_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run(*args: str) -> Result:
        return CliRunner().invoke(main, args, prog_name="swarm")

    return run
