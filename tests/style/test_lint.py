from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", ["lint-code", "lint-types", "lint-imports", "lint-proto"])
def test_linter_finds_nothing(root: Path, target: str) -> None:
    done = subprocess.run(
        ["make", target], cwd=root, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
