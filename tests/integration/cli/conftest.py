"""`swarm` as a subprocess against a real control plane, without a host: nothing is ever placed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from swarm_cli.main import main
from tests.e2e.harness.cli import Done
from tests.e2e.harness.deployment import Deployment, Plan
from tests.e2e.harness.upstream import Upstream

Swarm = Callable[..., Done]


@pytest.fixture(scope="session")
def control() -> Iterator[Deployment]:
    """A control plane alone."""
    made = Deployment(Plan(kind="sim", hosts=()))
    asyncio.run(made.open())
    yield made
    made.close()


@pytest.fixture(scope="session")
def swarm(control: Deployment) -> Swarm:
    return control.swarm


@pytest.fixture
def in_process(control: Deployment) -> Swarm:
    """As `swarm`, in this process."""

    def run(*args: str, code: int | None = 0) -> Done:
        result = CliRunner().invoke(main, args, prog_name="swarm", env=control.environment)
        done = Done(result.exit_code, result.stdout, result.stderr)
        assert code is None or done.code == code, (done, result.exception)
        return done

    return run


@pytest.fixture(scope="session")
def upstream(control: Deployment) -> Upstream:
    return control.upstream("project", {"README.md": "project\n"})


@pytest.fixture
def nobody(tmp_path: Path, control: Deployment) -> Path:
    """A state directory with the right socket and a wrong token."""
    folder = Path(shutil.copytree(control.state / "hosts", tmp_path / "hosts")).parent
    (folder / "controlplane.sock").symlink_to(control.state / "controlplane.sock")
    (folder / "admin.token").write_text("wrong" * 8)
    (folder / "admin.token").chmod(0o600)
    return folder
