"""An epic is never placed: its state is what its children's states add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from controlplane.domain.ticket import Ticket, TicketState

S = TicketState

# First that some child is in, when the children have not all ended. Failures show once nothing can run any more.
_PRECEDENCE: Final = (S.RUNNING, S.WAITING, S.READY, S.FAILED, S.IN_REVIEW, S.BLOCKED, S.PENDING)


def roll_up(children: Sequence[Ticket]) -> tuple[TicketState, str] | None:
    """(state, reason) of an epic with these children; None when it has none. Cancelled children count for nothing."""
    if not children:
        return None
    live = [child for child in children if child.state is not S.CANCELLED]
    if not live:
        return S.CANCELLED, "every child was cancelled"
    done = sum(child.state is S.COMPLETED for child in live)
    if done == len(live):
        return S.COMPLETED, "every child is completed"
    return _state(live), _progress(live, done)


def _state(live: Sequence[Ticket]) -> TicketState:
    states = {S.RUNNING if child.state is S.ASSIGNED else child.state for child in live}
    state = next(state for state in _PRECEDENCE if state in states)
    begun = any(child.fence for child in live)
    return S.RUNNING if state is S.READY and begun else state


def _progress(live: Sequence[Ticket], done: int) -> str:
    failed = [child.key for child in live if child.state is S.FAILED]
    suffix = f", {', '.join(failed[:5])} failed" if failed else ""
    return f"{done} of {len(live)} completed{suffix}"
