"""A control plane under the test's control, and hostd processes that attach to it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.control_plane import ControlPlane
from tests.fakes.host_process import HostProcess

Hosts = Callable[..., HostProcess]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Reachable by unprivileged users, unlike tmp_path, and short enough for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="swarm-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def control(folder: Path) -> AsyncIterator[ControlPlane]:
    plane = ControlPlane(folder / "control.sock")
    await plane.start()
    yield plane
    await plane.stop()


@pytest.fixture
async def hosts(folder: Path, control: ControlPlane) -> AsyncIterator[Hosts]:
    """Makes hostd processes by state directory name; all are ended with the test."""
    made: list[HostProcess] = []

    def make(name: str = "state", *options: str, instance: str = "default") -> HostProcess:
        made.append(HostProcess(folder / name, control.address, *options, instance=instance))
        return made[-1]

    yield make
    for host in made:
        if host.process:
            await host.end()
            sys.stderr.write(host.words())  # shown when the test fails
