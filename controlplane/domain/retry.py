"""Bounded retry: 1 + 3 attempts, after 1, 5 and 30 seconds. A host's faults never use up the ticket's tries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DELAYS_S: Final = (1.0, 5.0, 30.0)
MAX_FAULTS: Final = 1 + len(DELAYS_S)


class Fault(StrEnum):
    """Whose fault an attempt's end was. Each of TICKET and HOST has its own 1 + 3 tries."""

    TICKET = "ticket"
    HOST = "host"
    FATAL = "fatal"  # trying again would only repeat it
    NONE = "none"  # nobody's: costs no try, and comes only from an operator's act


FAULTS: Final[Mapping[str, Fault]] = {
    "agent_failed": Fault.TICKET,
    "prepare_failed": Fault.TICKET,
    "push_failed": Fault.TICKET,
    "tests_failed": Fault.TICKET,
    "timeout": Fault.TICKET,
    "violation": Fault.FATAL,
    "cancelled": Fault.HOST,
    "host_failed": Fault.HOST,
    "host_lost": Fault.HOST,
    "template_failed": Fault.HOST,
    "upstream_failed": Fault.HOST,
    "vm_lost": Fault.HOST,
    "host_stopping": Fault.NONE,
    "restored": Fault.NONE,  # leased when the backup was made, which the control plane was restored from
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`causes` is the ticket's list with the new one in it."""

    retry: bool
    delay_s: float
    causes: tuple[str, ...]


def known_cause(cause: str) -> str:
    """The cause itself, or `host_failed` for one that a host made up."""
    return cause if cause in FAULTS else "host_failed"


def count(causes: Sequence[str], fault: Fault) -> int:
    """How many of the causes are this kind of fault."""
    return sum(FAULTS.get(cause) is fault for cause in causes)


def decide(causes: tuple[str, ...], cause: str) -> Verdict:
    """What follows when an attempt ends by `cause` after earlier ones ended by `causes`."""
    fault = FAULTS[cause]
    if fault is Fault.NONE:
        return Verdict(retry=True, delay_s=0.0, causes=causes)
    causes = (*causes, cause)
    faults = count(causes, fault)
    if fault is Fault.FATAL or faults >= MAX_FAULTS:
        return Verdict(retry=False, delay_s=0.0, causes=causes)
    return Verdict(retry=True, delay_s=DELAYS_S[faults - 1], causes=causes)
