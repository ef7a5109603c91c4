"""What a soak says in the end, and whether it passed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.soak.flat import Bound, Points, Trend, trend
from tests.soak.samples import Sample
from tests.soak.soak import Result

MIB: Final = 1 << 20
MEMORY: Final = Bound(0.10, 8 * MIB)
DESCRIPTORS: Final = Bound(0.0, 2)


@dataclass(frozen=True, slots=True)
class Life:
    """One process from its start to its end, as far as it was at rest. None: it did not live long enough to judge."""

    name: str
    pid: int
    seconds: float
    memory: Trend | None
    descriptors: Trend | None

    @property
    def faults(self) -> Iterator[str]:
        for what, found, bound, unit in (
            ("memory", self.memory, MEMORY, MIB),
            ("descriptors", self.descriptors, DESCRIPTORS, 1),
        ):
            if found is not None and not found.flat(bound):
                grown = f"{found.first / unit:.1f} to {found.last / unit:.1f}, by the fit {found.fitted / unit:+.1f}"
                yield f"{self.name} (pid {self.pid}): {what} grew from {grown}"


def lives(samples: Iterable[Sample]) -> list[Life]:
    """Judged by the samples at rest alone: what is at work comes and goes."""
    at_rest = sorted((each for each in samples if each.rest), key=lambda each: (each.name, each.pid, each.at))
    found = []
    for (name, pid), group in groupby(at_rest, key=lambda each: (each.name, each.pid)):
        mine = list(group)
        memory: Points = [(each.at, float(each.memory)) for each in mine]
        descriptors: Points = [(each.at, float(each.descriptors)) for each in mine]
        found.append(Life(name, pid, mine[-1].at - mine[0].at, trend(memory), trend(descriptors)))
    return found


def faults(result: Result) -> list[str]:
    """Everything for which a soak fails."""
    grown = [fault for life in lives(result.samples) for fault in life.faults]
    left = [f"{kind} left: {', '.join(items[:5])}" for kind, items in result.left.items()]
    return [*result.problems, *grown, *left]


def show(result: Result, console: Console) -> None:
    """A row for each process that lived long enough, then the sums."""
    table = Table("process", "pid", "seconds at rest", "memory MiB", "by the fit", "descriptors", "by the fit")
    for life in lives(result.samples):
        if life.memory and life.descriptors:
            table.add_row(
                life.name,
                str(life.pid),
                f"{life.seconds:.0f}",
                f"{life.memory.first / MIB:.1f} -> {life.memory.last / MIB:.1f}",
                f"{life.memory.fitted / MIB:+.1f}",
                f"{life.descriptors.first:.0f} -> {life.descriptors.last:.0f}",
                f"{life.descriptors.fitted:+.1f}",
            )
    console.print(table)
    console.print(f"tickets {result.tickets}: {_counts(result.states)}; faults: {_counts(result.faults)}")
    wrong = faults(result)
    for fault in wrong:
        console.print(f"[red]{fault}", highlight=False)
    console.print("[red]FAILED" if wrong else "[green]passed: nothing lost, nothing left, nothing grown")


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found.items()) or "none"
