"""`python -m tests.soak --minutes 30`: exit code 0 when nothing was lost, left or grown."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Read when gRPC is imported; see tests/conftest.py.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import uvloop
from rich.console import Console

from hostd.fork import without_collection
from tests.extent import seed
from tests.soak.report import faults, show
from tests.soak.soak import Settings, Soak

FAILED = 1


def arguments(argv: Sequence[str]) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Load and faults for a long time.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default 30)")
    parser.add_argument("--seed", type=int, default=None, help="do again what an earlier run did (default: a new one)")
    parser.add_argument("--sim", action="store_true", help="simulated VMs only")
    parser.add_argument("--out", type=Path, default=None, help="file for samples (default .cache/soak/SEED.jsonl)")
    chosen = parser.parse_args(argv)
    if chosen.minutes <= 0:
        parser.error("--minutes must be above 0")
    number = seed() if chosen.seed is None else chosen.seed
    out = chosen.out or Path(f".cache/soak/{number}.jsonl")
    return Settings(seconds=60 * chosen.minutes, seed=number, out=out, real=not chosen.sim)


def main(argv: Sequence[str]) -> int:
    settings = arguments(argv)
    console = Console() if sys.stdout.isatty() else Console(width=140)
    console.print(f"soak: {settings.seconds:.0f} s, seed {settings.seed}, samples in {settings.out}", highlight=False)
    without_collection()
    result = uvloop.run(Soak(settings).run())
    show(result, console)
    return FAILED if faults(result) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
