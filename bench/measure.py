"""Timing ours against peers, in turns, so that both meet the same machine at the same time."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Action = Callable[[], float]  # runs once and returns what it measured; preparation and clean-up stay out of it

WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Figures:
    """Median, 99th percentile (nearest rank) and number of samples; none is ever left out."""

    p50: float
    p99: float
    n: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a bench. `ratio` says how many times better ours is than the peer, by the median.

    `peer` is a name; without figures it was not measured, for the reason in `note`. Rows may stand without a peer.
    """

    metric: str
    unit: str
    ours: Figures
    peer: str = ""
    theirs: Figures | None = None
    goal: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.theirs.p50 / self.ours.p50 if self.theirs and self.ours.p50 else None

    def to_json(self) -> str:
        theirs = {"p50": self.theirs.p50, "p99": self.theirs.p99, "n": self.theirs.n} if self.theirs else {}
        peer = {"name": self.peer, **theirs} if self.peer else None
        ours = {"p50": self.ours.p50, "p99": self.ours.p99, "n": self.ours.n}
        row = {"metric": self.metric, "unit": self.unit, "ours": ours, "peer": peer, "ratio": self.ratio}
        return json.dumps(row | {name: text for name in ("goal", "note") if (text := getattr(self, name))})


def figures(samples: Sequence[float]) -> Figures:
    """Percentiles of at least one sample."""
    ordered = sorted(samples)

    def rank(percent: float) -> float:
        return round(ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)], 4)

    return Figures(rank(50), rank(99), len(ordered))


def clocked(work: Callable[[], object], *, per_second: float = 1e3) -> float:
    """How long `work` takes, in milliseconds unless told otherwise."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * per_second


def in_turns(n: int, *actions: Action) -> list[Figures]:
    """Run the actions one after the other, `n` rounds after a warm-up that is thrown away."""
    rounds = [[action() for action in actions] for _ in range(n + WARM_UP)]
    return [figures(samples) for samples in zip(*rounds[WARM_UP:], strict=True)]
