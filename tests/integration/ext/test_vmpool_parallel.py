"""The pool's C interface, used by threads that hold no interpreter lock."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from ext.vmpool import VmPool

TOKENS, ROUNDS, THREADS = 6, 300_000, 4


@pytest.fixture
def hammer(root: Path, tmp_path: Path, clean: None) -> ModuleType:
    source = Path(shutil.copy(Path(__file__).with_name("hammer.pyx"), tmp_path))
    command = [sys.executable, "-m", "Cython.Build.Cythonize", "-i", "-3", str(source)]
    environment = os.environ | {"PYTHONPATH": str(root), "CFLAGS": "-O1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = tmp_path.glob("hammer.*.so")
    spec = importlib.util.spec_from_file_location("hammer", built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_vm_is_handed_out_twice_or_lost(hammer: ModuleType) -> None:
    seed = int(os.environ.get("SWARM_SEED", time.time_ns() & 0xFFFFFFFF))
    print(f"SWARM_SEED={seed}")  # noqa: T201
    pool, owners = VmPool(TOKENS), hammer.Owners(TOKENS)
    assert all(pool.put(token, token + 3) for token in range(TOKENS))

    with ThreadPoolExecutor(THREADS) as executor:
        jobs = [executor.submit(hammer.churn, pool, owners, TOKENS, ROUNDS, seed + n) for n in range(THREADS)]
    acquired, taken = (sum(column) for column in zip(*(job.result() for job in jobs), strict=True))

    assert owners.faulty == 0
    assert min(acquired, taken) > 0
    assert len(pool) == TOKENS
    assert {pool.acquire() for _ in range(TOKENS)} == {(token, token + 3) for token in range(TOKENS)}
