"""One seed to its verdict, and what a person needs to look into a bad one."""

from __future__ import annotations

import re
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.sim.scenario import RESTORING, Scenario
from tests.sim.validators.judge import judge
from tests.sim.world import World

TICKET = re.compile(r"tk_\w+")
TAIL = 40


@dataclass(frozen=True, slots=True)
class Result:
    """`seconds` are of this machine, `virtual_s` of the run; `ops` counts entries of the history by kind."""

    seed: int
    digest: str
    problems: tuple[str, ...]
    seconds: float
    virtual_s: float
    callbacks: int
    ops: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    tail: tuple[str, ...] = ()
    history: str = ""


def run_seed(seed: int, scenario: Scenario, keep: Path | None = None) -> Result:
    """Plays and judges one seed. A bad run's history goes to the folder `keep`."""
    began = time.perf_counter()
    world = World(seed, scenario)
    evidence = world.run()
    problems = tuple(judge(evidence))
    path = ""
    if problems and keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        path = str(keep / f"seed-{seed}.jsonl")
        world.history.write(Path(path))
    named = TICKET.search(" ".join(problems))
    return Result(
        seed=seed,
        digest=world.history.digest,
        problems=problems,
        seconds=time.perf_counter() - began,
        virtual_s=world.loop.now,
        callbacks=world.loop.callbacks,
        ops=dict(world.history.count),
        passed=dict(world.passed),
        tail=tuple(world.history.about(named.group(), TAIL)) if named else (),
        history=path,
    )


def replay(seed: int, scenario: Scenario) -> str:
    """The command that plays this seed again."""
    size = f" --hosts {scenario.hosts} --tickets {scenario.tickets}" if scenario != Scenario() else ""
    return f".venv/bin/python -m tests.sim --seed {seed}{' --restores' if scenario == RESTORING else size}"


def report(result: Result, scenario: Scenario) -> str:
    """What a failing seed has to say, for a terminal or a test's output."""
    lines = [f"seed {result.seed} breaks {len(result.problems)} rules:", *(f"  {text}" for text in result.problems)]
    if result.tail:
        lines += ["the last that was seen of the ticket:", *(f"  {line}" for line in result.tail)]
    if result.history:
        lines.append(f"history: {result.history}")
    return "\n".join([*lines, f"replay:  {replay(result.seed, scenario)}"])


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
