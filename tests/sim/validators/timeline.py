"""The history, read back as what validators ask of it: leases, lives and spells. Times are those of the history."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tests.sim.history import Entry

LEASED = frozenset({"assigned", "running", "waiting"})


@dataclass(slots=True)
class Lease:
    """`end` is infinite while it lasts; `to` and `reason` say how it ended."""

    ticket: str
    attempt: str
    fence: int
    host: str
    begin: float
    end: float = math.inf
    to: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Timeline:
    history: Sequence[Entry]

    def of(self, *ops: str) -> Iterator[Entry]:
        if len(ops) == 1:
            return iter(self._by_op.get(ops[0], ()))
        return (entry for entry in self.history if entry["op"] in ops)

    @cached_property
    def _by_op(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.history:
            found[entry["op"]].append(entry)
        return found

    @cached_property
    def moves(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.of("ticket.move"):
            found[entry["ticket_id"]].append(entry)
        return found

    @cached_property
    def leases(self) -> list[Lease]:
        """In order of their beginning."""
        live: dict[str, Lease] = {}
        found = []
        for move in self.of("ticket.move"):
            ident = move["ticket_id"]
            if move["to"] == "assigned" and move["from"] != "assigned":
                lease = Lease(ident, move["attempt"], move["fence"], move["host"], move["t"])
                live[ident] = lease
                found.append(lease)
            elif move["to"] not in LEASED and ident in live:
                lease = live.pop(ident)
                lease.end, lease.to, lease.reason = move["t"], move["to"], move["reason"]
        return found

    @cached_property
    def by_host(self) -> dict[str, list[Lease]]:
        found: dict[str, list[Lease]] = defaultdict(list)
        for lease in self.leases:
            found[lease.host].append(lease)
        return found

    @cached_property
    def starts(self) -> list[tuple[float, float]]:
        """(when, offset of its clock) of each life of the control plane."""
        return [(entry["t"], entry["offset"]) for entry in self.of("control.start")]

    def start_before(self, t: float) -> tuple[float, float]:
        index = bisect_right(self.starts, (t, math.inf)) - 1
        return self.starts[max(index, 0)] if self.starts else (0.0, 0.0)

    @cached_property
    def lives(self) -> list[tuple[float, float, float]]:
        """(begin, end, offset of its clock) of each life of the control plane."""
        deaths = [entry["t"] for entry in self.of("control.die")]
        return [(begin, next((t for t in deaths if t >= begin), math.inf), offset) for begin, offset in self.starts]

    def done_by(self, since: float, wait: float, takes: float) -> float:
        """When a control plane has had `takes` seconds in one life for what was due `wait` after `since`, by its clock.

        A clock may read less in the life that follows, so only what came after `since` counts.
        """
        due = self.clock(since) + wait
        times = ((max(begin, since, due - offset) + takes, end) for begin, end, offset in self.lives if end > since)
        return next((t for t, end in times if t < end), math.inf)

    def clock(self, t: float) -> float:
        """What the store's clock said then, without the epoch."""
        return t + self.start_before(t)[1]

    @cached_property
    def heard(self) -> dict[str, list[float]]:
        """When the control plane heard a renewal, or a hello, that names an attempt."""
        return self._by_attempt("control.renewal")

    @cached_property
    def granted(self) -> dict[str, list[float]]:
        """When the control plane told a host that a lease was prolonged."""
        return self._by_attempt("control.renewed")

    def _by_attempt(self, op: str) -> dict[str, list[float]]:
        found: dict[str, list[float]] = defaultdict(list)
        for entry in self.of(op):
            for attempt in entry["attempts"]:
                found[attempt].append(entry["t"])
        return found

    @cached_property
    def attached(self) -> dict[str, Spells]:
        return self._spells(("control.attach",), ("control.detach",), also_end=("control.die",))

    @cached_property
    def frozen(self) -> dict[str, Spells]:
        return self._spells(("host.freeze",), ("host.thaw", "host.die"))

    def _spells(self, begins: Iterable[str], ends: Iterable[str], also_end: Iterable[str] = ()) -> dict[str, Spells]:
        begins, ends, everywhere = set(begins), set(ends), set(also_end)
        found: dict[str, Spells] = defaultdict(Spells)
        for entry in self.history:
            if entry["op"] in begins:
                found[entry["host"]].begin(entry["t"])
            elif entry["op"] in ends:
                found[entry["host"]].finish(entry["t"])
            elif entry["op"] in everywhere:
                for spells in found.values():
                    spells.finish(entry["t"])
        return found


@dataclass(slots=True)
class Spells:
    """Times in which something held."""

    spans: list[list[float]] = field(default_factory=list)

    def begin(self, t: float) -> None:
        if not self.spans or self.spans[-1][1] != math.inf:
            self.spans.append([t, math.inf])

    def finish(self, t: float) -> None:
        if self.spans and self.spans[-1][1] == math.inf:
            self.spans[-1][1] = t

    def hold(self, t: float, lately: float = 0.0) -> bool:
        """Whether it held at `t`, or until less than `lately` before."""
        return any(begin <= t <= end + lately for begin, end in self.spans)


def last_before(times: Sequence[float], t: float) -> float | None:
    index = bisect_right(times, t)
    return times[index - 1] if index else None
