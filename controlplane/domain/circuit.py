"""The circuit breaker of an upstream: when many attempts fail by it, no more are spent on it for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

WINDOW_S: Final = 60
THRESHOLD: Final = 0.5
LEAST: Final = 3  # fewer ends within the window tell nothing
RETRY_S: Final = 30.0
SUCCESSES: Final = 3
CLAUDE: Final = "claude"
UPSTREAMS: Final = frozenset({CLAUDE})


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Circuit:
    """`counts` holds (second, attempts that ended, those of them that the upstream failed); times are epoch seconds."""

    counts: tuple[tuple[int, int, int], ...] = ()
    opened_at: float | None = None
    successes: int = 0

    @property
    def retry_at(self) -> float | None:
        """When it is tried again."""
        return None if self.opened_at is None else self.opened_at + RETRY_S

    def state(self, now: float) -> CircuitState:
        if self.retry_at is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self.retry_at else CircuitState.HALF_OPEN

    def within(self, now: float) -> tuple[int, int]:
        """(ended, failed) of the last minute."""
        recent = _recent(self.counts, now)
        return sum(ended for _, ended, _ in recent), sum(failed for _, _, failed in recent)


def rate(ended: int, failed: int) -> float:
    return failed / ended if ended else 0.0


def observed(circuit: Circuit, at: float, *, ok: bool) -> Circuit:
    """The circuit after an attempt ended that needs the upstream: well, or by the upstream's fault."""
    counted = replace(circuit, counts=_counted(circuit.counts, at, ok=ok))
    match circuit.state(at):
        case CircuitState.CLOSED:
            return replace(counted, opened_at=at) if _trips(counted, at) else counted
        case CircuitState.HALF_OPEN if not ok:
            return replace(counted, opened_at=at, successes=0)
        case CircuitState.HALF_OPEN if circuit.successes + 1 >= SUCCESSES:
            return Circuit()
        case CircuitState.HALF_OPEN:
            return replace(counted, successes=circuit.successes + 1)
        case _:  # what was on its way when it opened tells nothing new
            return counted


def _trips(circuit: Circuit, now: float) -> bool:
    ended, failed = circuit.within(now)
    return ended >= LEAST and rate(ended, failed) >= THRESHOLD


def _recent(counts: tuple[tuple[int, int, int], ...], now: float) -> tuple[tuple[int, int, int], ...]:
    return tuple(each for each in counts if each[0] > now - WINDOW_S)


def _counted(counts: tuple[tuple[int, int, int], ...], at: float, *, ok: bool) -> tuple[tuple[int, int, int], ...]:
    *earlier, last = _recent(counts, at) or ((int(at), 0, 0),)
    if last[0] != int(at):
        earlier, last = [*earlier, last], (int(at), 0, 0)
    return (*earlier, (last[0], last[1] + 1, last[2] + (not ok)))
