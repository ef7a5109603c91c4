"""`python -m tests.sim`: plays seeds, over all processors, and says which break a rule and how to play them again."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tests.sim.run import Result, peak_mib, report, run_seed
from tests.sim.scenario import RESTORING, Scenario, scaled

KEEP = Path(".cache/sim")
EVERY_S = 10.0
FAULTS = (
    "host.die",
    "host.freeze",
    "network.fault",
    "control.die",
    "clock.step",
    "operator.out",
    "operator.stopped",
    "world.restored",
)


def main() -> int:
    options = _options()
    scenario = RESTORING if options.restores else Scenario()
    if options.hosts:
        scenario = scaled(options.hosts, options.tickets)
    if options.seed is not None:
        return _one(options.seed, scenario)
    first, last = map(int, options.seeds.split(".."))
    return _many(range(first, last + 1), scenario, options.jobs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="play one seed and print its hash")
    which.add_argument("--seeds", metavar="A..B", help="play a range of seeds")
    parser.add_argument("--restores", action="store_true", help="restore a backup on the way")
    parser.add_argument("--hosts", type=int, default=0, help="a fleet of so many hosts (with --tickets)")
    parser.add_argument("--tickets", type=int, default=0, help="so many tickets (with --hosts)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one per processor)")
    options = parser.parse_args()
    if bool(options.hosts) != bool(options.tickets):
        parser.error("--hosts and --tickets go together")
    if options.hosts and options.restores:
        parser.error("--restores is for small fleets")
    return options


def _one(seed: int, scenario: Scenario) -> int:
    result = run_seed(seed, scenario, KEEP)
    print(f"seed {seed}: {result.virtual_s:.0f} virtual s in {result.seconds:.1f} s, {result.callbacks} callbacks")
    print(f"  {result.callbacks / result.seconds:.0f} callbacks/s, peak {peak_mib()} MiB")
    print(f"  faults: {_faults(Counter(result.ops))}")
    print(f"  history {result.digest}")
    if result.problems:
        print(report(result, scenario))
    return int(bool(result.problems))


def _many(seeds: range, scenario: Scenario, jobs: int) -> int:
    began = shown = time.monotonic()
    bad: list[int] = []
    ops: Counter[str] = Counter()
    done = 0
    for result in _results(seeds, scenario, jobs):
        done += 1
        ops.update(result.ops)
        if result.problems:
            bad.append(result.seed)
            print(report(result, scenario), flush=True)
        if time.monotonic() - shown > EVERY_S:
            shown = time.monotonic()
            rate = done / (shown - began)
            print(f"{done} of {len(seeds)} seeds, {rate:.1f}/s, {len(bad)} bad, at seed {result.seed}", flush=True)
    print(f"{done} seeds in {time.monotonic() - began:.0f} s, {sum(ops.values())} entries; faults: {_faults(ops)}")
    print(f"bad seeds: {bad or 'none'}")
    return int(bool(bad))


def _results(seeds: range, scenario: Scenario, jobs: int) -> Iterator[Result]:
    """In order, so that a run that was cut off goes on at the seed it named last."""
    play = partial(run_seed, scenario=scenario, keep=KEEP)
    with get_context("spawn").Pool(jobs, maxtasksperchild=25) as pool:  # which keeps them small
        yield from pool.imap(play, seeds, chunksize=4)


def _faults(ops: Counter[str]) -> str:
    return ", ".join(f"{ops[name]} {name}" for name in FAULTS)


if __name__ == "__main__":
    sys.exit(main())
