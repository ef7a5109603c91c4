"""Lists the benches, or runs one: `python -m bench [NAME [--json] [-n ROUNDS]]`."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from rich.console import Console
from rich.table import Table

import bench
from bench.machine import machine
from bench.measure import Figures, Row


class Bench(Protocol):
    """A module of this folder that has these three."""

    NAME: str
    SUMMARY: str

    def run(self, n: int) -> list[Row]: ...


def benches() -> dict[str, Bench]:
    modules = (
        importlib.import_module(f"bench.{found.name}")
        for found in pkgutil.iter_modules(bench.__path__)
        if found.name != "__main__"
    )
    return {module.NAME: cast("Bench", module) for module in modules if hasattr(module, "NAME")}


def shown(figures: Figures | None) -> list[str]:
    return [f"{figures.p50:.3f}", f"{figures.p99:.3f}", str(figures.n)] if figures else ["", "", ""]


def table(rows: Sequence[Row]) -> Table:
    drawn = Table("metric", "unit", "p50", "p99", "n", "peer", "p50", "p99", "n", "ratio", "goal", "note")
    for row in rows:
        ratio = f"{row.ratio:.1f}x" if row.ratio else ""
        drawn.add_row(row.metric, row.unit, *shown(row.ours), row.peer, *shown(row.theirs), ratio, row.goal, row.note)
    return drawn


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Swarm beside its alternatives.")
    parser.add_argument("name", nargs="?", help="the bench to run; without it they are listed")
    parser.add_argument("--json", action="store_true", help="one JSON object per line, the machine last")
    parser.add_argument("-n", type=int, default=100, metavar="ROUNDS", help="rounds to measure (default 100)")
    chosen = parser.parse_args(argv)
    if chosen.n < 1:
        parser.error("-n must be at least 1")
    if chosen.name and chosen.name not in benches():
        parser.error(f"there is no bench {chosen.name!r}; there are: {', '.join(benches())}")
    return chosen


def main(argv: Sequence[str]) -> None:
    chosen = arguments(argv)
    if not chosen.name:
        for name, found in benches().items():
            print(f"{name:14} {found.SUMMARY}")
        return
    rows = benches()[chosen.name].run(chosen.n)
    line = json.dumps({"machine": machine()})
    if chosen.json:
        print(*(row.to_json() for row in rows), line, sep="\n")
        return
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table(rows))
    console.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main(sys.argv[1:])
