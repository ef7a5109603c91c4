"""`swarm` starts fast because it imports little."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"anthropic", "asyncio", "google", "grpc", "rich", "swarm", "swarm_sdk", "uvloop"}


def imported(*args: str) -> set[str]:
    """Top-level names of all modules that `python -X importtime ARGS` imports."""
    command = [sys.executable, "-X", "importtime", *args]
    done = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().split(".")[0] for line in lines}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    found = imported("-m", "swarm_cli.main", option) - imported("-c", "")

    assert "click" in found
    assert found & HEAVY == set()


def test_the_check_sees_what_a_command_imports() -> None:
    assert {"grpc", "rich", "swarm_sdk"} <= imported("-m", "swarm_cli.main", "status", "--help")
