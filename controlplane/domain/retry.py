"""Bounded retry: every fault has its own count and its own delays, so that nothing runs for ever."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controlplane.domain.failure import Fault, Strategy, cause_of

RETRIES: Final = 3
# Attempts that may end by the fault of each, the first included.
LIMITS: Final[Mapping[Fault, int]] = {
    Fault.TICKET: 1 + RETRIES,
    Fault.HOST: 1 + RETRIES,
    Fault.UPSTREAM: 24,
    Fault.NOBODY: 30,
}
JITTER: Final = 0.25
LONGEST_WAIT: Final = 20  # times the last retry delay


@dataclass(frozen=True, slots=True)
class RetryTimes:
    """Seconds before the first, second and third retry; the last holds for those that are not named.

    Waits for an upstream follow from the last one: they double, up to LONGEST_WAIT times of it. With the defaults a
    ticket outlasts an upstream that is away for some three hours.
    """

    delays_s: tuple[float, ...] = (1.0, 5.0, 30.0)

    def delay_s(self, strategy: Strategy, faults: int) -> float:
        """What goes before the next attempt, when `faults` ended by this kind of fault, this one included."""
        last = self.delays_s[-1]
        match strategy:
            case Strategy.WAIT:
                return last * min(1 << (faults - 1), LONGEST_WAIT)
            case Strategy.AGAIN:
                return 0.0
            case Strategy.MOVE if faults == 1:
                return 0.0
            case _:
                return self.delays_s[faults - 1] if faults <= len(self.delays_s) else last


TIMES: Final = RetryTimes()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`causes` is the ticket's list with the new one in it; `delay_s` is None when no attempt follows."""

    delay_s: float | None
    dead_letter: bool
    causes: tuple[str, ...]


def count(causes: Sequence[str], fault: Fault) -> int:
    """How many of the causes are this kind of fault."""
    return sum(cause_of(cause).fault is fault for cause in causes)


def jitter(ticket_id: str, fence: int) -> float:
    """From 0 up to 1, even over tickets and always the same for one attempt: a replay meets the same delays."""
    return zlib.crc32(f"{ticket_id}:{fence}".encode()) / 2**32


def decide(causes: tuple[str, ...], cause: str, times: RetryTimes = TIMES, jitter: float = 0.0) -> Verdict:
    """What follows when an attempt ends by `cause` after earlier ones ended by `causes`.

    A delay is never shorter than promised; `jitter` draws it out by up to a quarter, so that what failed together
    does not come back together.
    """
    found = cause_of(cause)
    causes = (*causes, found.name)
    faults = count(causes, found.fault)
    if found.strategy is Strategy.PARK:
        return Verdict(None, dead_letter=False, causes=causes)
    if found.strategy is Strategy.NEVER or faults >= LIMITS[found.fault]:
        return Verdict(None, dead_letter=True, causes=causes)
    delay = times.delay_s(found.strategy, faults) * (1 + JITTER * jitter)
    return Verdict(math.ceil(delay * 1000) / 1000, dead_letter=False, causes=causes)
