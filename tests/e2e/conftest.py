"""Deployments for end-to-end tests, with simulated and with real VMs: choose with `--vm sim` or `--vm real`.

A module shares one deployment per kind. What it leaves on the machine after its end is a failure of its last test.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest

from swarm_sdk.client import Client
from tests.e2e.harness.deployment import Deployment, Plan
from tests.e2e.harness.waiting import until

KINDS = ("sim", "real")
NOT_CHOSEN = "not chosen"
NEEDED = ("qemu-system-x86_64", "mmdebstrap", "mksquashfs", "mkfs.ext4")
CLEAN_PATIENCE_S = 60.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--vm", choices=KINDS, default=None, help="only simulated, or only real VMs; default: both")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kinds(*names): kinds of VM that make sense for the test: sim, real")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("kinds")
        chosen = metafunc.config.getoption("--vm")
        kinds = [kind for kind in (marker.args if marker else KINDS) if chosen in {None, kind}]
        metafunc.parametrize("kind", kinds or [NOT_CHOSEN], scope="module")


@pytest.fixture(scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    """sim or real; a test with real VMs skips where there can be none."""
    chosen = str(request.param)
    if chosen == "real":
        need_vms()
    return chosen


def need_vms() -> None:
    """Skips the test where no real VM can be started."""
    if os.geteuid() != 0:
        pytest.skip("real VMs need root")
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        pytest.skip(f"real VMs need {', '.join(missing)}")


@pytest.fixture(scope="session")
def template() -> None:
    """The image and template of real VMs, for a host that will have no network to make an image with."""

    async def make() -> None:
        async with Deployment(Plan(kind="real")):
            pass

    asyncio.run(make())


@pytest.fixture(scope="module")
def plan(request: pytest.FixtureRequest, kind: str) -> Plan:
    """What the module's deployment consists of; `PLAN` of the module says how it differs from the usual one."""
    options: dict[str, Any] = getattr(request.module, "PLAN", {})
    return Plan(kind=kind, **options)


@pytest.fixture(scope="module")
def deployment(plan: Plan) -> Iterator[Deployment]:
    """A running control plane and host, shared by the module."""
    made = Deployment(plan)
    asyncio.run(made.open())
    yield made
    made.close()
    until(lambda: not made.left(), f"nothing is left of the deployment: {made.left()}", patience_s=CLEAN_PATIENCE_S)


@pytest.fixture
async def client(deployment: Deployment) -> AsyncIterator[Client]:
    async with deployment.client() as opened:
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the ends of all logs of its deployment."""
    report = yield
    found = getattr(item, "funcargs", {}).get("deployment")
    if report.failed and isinstance(found, Deployment):
        report.sections.append(("logs of the deployment", found.logs()))
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drops what `--vm` does not want. The first test with real VMs waits for an image and a template: long enough."""
    unwanted = [item for item in items if getattr(item, "callspec", None) and _kind_of(item) == NOT_CHOSEN]
    items[:] = [item for item in items if item not in unwanted]
    config.hook.pytest_deselected(items=unwanted)
    for item in items:
        if item.nodeid.startswith("tests/e2e/") and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))


def _kind_of(item: pytest.Item) -> object:
    return item.callspec.params.get("kind") if isinstance(item, pytest.Function) else None
