"""What every test gets: uvloop, a heading per folder, and no silent skips where all tests must run."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import pytest
import uvloop

from hostd.fork import without_collection

# Read when gRPC is imported: with its fork handlers, a child that only execs may wait for gRPC's threads for ever.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

without_collection()

# A job in the background of a shell without job control is born deaf to Ctrl-C, and so would be all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
MUST_RUN = ("tests/integration/", "tests/contract/", "tests/e2e/")


@pytest.hookimpl
def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def root() -> Path:
    """The top folder of the repository."""
    return ROOT


class Headings:
    """Prints the folder that begins, and how long the one before took."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self.terminal = terminal
        self.folder = ""
        self.began = time.monotonic()

    def enter(self, folder: str) -> None:
        if folder == self.folder:
            return
        now = time.monotonic()
        if self.folder:
            self.terminal.ensure_newline()
            self.terminal.write_line(f"{self.folder}: {now - self.began:.1f} s")
        self.folder, self.began = folder, now
        if folder:
            self.terminal.section(folder)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.enter("/".join(nodeid.split("/")[:2]))

    def pytest_sessionfinish(self) -> None:
        self.enter("")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.register(Headings(terminal), "headings")


def all_required() -> bool:
    """Whether a skipped test counts as a failure, as it does in CI."""
    return os.environ.get("CI", "").lower() in {"1", "true"} or os.environ.get("SWARM_REQUIRE_ALL") == "1"


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip of a test that should have run into a failure that gives its reason."""
    if not (report.skipped and all_required() and report.nodeid.startswith(MUST_RUN)) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} must run here (CI or SWARM_REQUIRE_ALL=1) and was skipped: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.get_closest_marker("optional_peer") is None:
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report
