"""Runs a module of ours with a wall clock that a test moves: `python -m tests.fakes.shifted FILE MODULE OPTIONS...`.

FILE holds the offset in seconds. Only the wall clock of Python code moves, as after a step by an operator or NTP; the
monotonic and boot clocks go on.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from pathlib import Path


def shift(file: Path) -> None:
    real, real_ns = time.time, time.time_ns

    def offset() -> float:
        return float(file.read_text())

    time.time = lambda: real() + offset()
    time.time_ns = lambda: real_ns() + int(offset() * 1e9)


def step(file: Path, seconds: float) -> None:
    """The clocks of all processes that read the file jump, at once."""
    fresh = file.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(file)


if __name__ == "__main__":
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    shift(Path(sys.argv[1]))
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
