"""A skip where every test must run is a failure, or CI would pass without its most important tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SUITE = """
import pytest

def test_runs(): pass
def test_lacks_root(): pytest.skip("no root")
@pytest.mark.skipif(True, reason="no QEMU")
def test_lacks_qemu(): pass
@pytest.mark.optional_peer
def test_lacks_a_foreign_tool(): pytest.skip("no Go")
@pytest.mark.xfail(strict=True)
def test_known_failure(): assert False
"""
MODULE = "import pytest\npytest.skip('no git', allow_module_level=True)\n"


def summary(root: Path, folder: Path, **environment: str) -> str:
    """Closing line of pytest over the suite above, placed in a project of its own."""
    (folder / "tests/e2e").mkdir(parents=True)
    shutil.copy(root / "pyproject.toml", folder)
    shutil.copy(root / "tests/conftest.py", folder / "tests")
    (folder / "tests/e2e/test_suite.py").write_text(SUITE)
    (folder / "tests/e2e/test_module.py").write_text(MODULE)
    env = {name: value for name, value in os.environ.items() if name not in {"CI", "SWARM_REQUIRE_ALL"}} | environment
    command = [sys.executable, "-m", "pytest", "tests/e2e"]
    done = subprocess.run(command, cwd=folder, env=env, check=False, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def test_skips_fail_in_ci(root: Path, tmp_path: Path) -> None:
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors" in summary(root, tmp_path, CI="true")


def test_skips_fail_on_request(root: Path, tmp_path: Path) -> None:
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors" in summary(root, tmp_path, SWARM_REQUIRE_ALL="1")


def test_skips_are_allowed_elsewhere(root: Path, tmp_path: Path) -> None:
    assert "1 passed, 4 skipped, 1 xfailed" in summary(root, tmp_path)
