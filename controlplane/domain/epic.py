"""An epic is never placed: its state is what its children's states add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from controlplane.domain.ticket import TicketState

S = TicketState

NAMED: Final = 5  # failed children that the reason names
# First that some child is in, when the children have not all ended. Failures show once nothing can run any more.
_PRECEDENCE: Final = (S.RUNNING, S.WAITING, S.READY, S.FAILED, S.IN_REVIEW, S.BLOCKED, S.PENDING)


@dataclass(frozen=True, slots=True)
class Children:
    """`states`: how many are in which. `begun`: one that is not cancelled had a lease. `failed`: keys of the first."""

    states: Mapping[TicketState, int] = field(default_factory=dict)
    begun: bool = False
    failed: tuple[str, ...] = ()


def roll_up(children: Children) -> tuple[TicketState, str] | None:
    """(state, reason) of an epic with these children; None when it has none. Cancelled children count for nothing."""
    if not children.states:
        return None
    live = sum(count for state, count in children.states.items() if state is not S.CANCELLED)
    if not live:
        return S.CANCELLED, "every child was cancelled"
    done = children.states.get(S.COMPLETED, 0)
    if done == live:
        return S.COMPLETED, "every child is completed"
    failed = f", {', '.join(children.failed[:NAMED])} failed" if children.failed else ""
    return _state(children), f"{done} of {live} completed{failed}"


def matters(before: TicketState, after: TicketState) -> bool:
    """Whether an epic looks different once a child has moved so."""
    return _seen(before) is not _seen(after)


def _state(children: Children) -> TicketState:
    states = {_seen(state) for state in children.states}
    state = next(state for state in _PRECEDENCE if state in states)
    return S.RUNNING if state is S.READY and children.begun else state


def _seen(state: TicketState) -> TicketState:
    return S.RUNNING if state is S.ASSIGNED else state
