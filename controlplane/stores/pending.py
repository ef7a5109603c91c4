"""Writes of one unit of work that wait for its end, or for the first statement that might miss them.

A ticket that moves three times in one unit is written once, and all of a unit's rows of one table by one statement.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.domain.event import NewEvent
from controlplane.domain.ticket import Attempt, Ticket

Guard = tuple[str, int]  # state and fence that the row has


@dataclass(slots=True)
class Pending:
    """By id, in the order in which they came. A row without a guard, and a new attempt, is to be inserted."""

    tickets: dict[str, tuple[Guard | None, Ticket]] = field(default_factory=dict)
    respecified: dict[str, None] = field(default_factory=dict)
    attempts: dict[str, tuple[bool, Attempt]] = field(default_factory=dict)
    events: list[tuple[NewEvent, float]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.tickets or self.attempts or self.events)

    def move(self, stored: Ticket, after: Ticket) -> None:
        guard, _ = self.tickets.get(stored.id, ((stored.state.value, stored.fence), stored))
        self.tickets[stored.id] = guard, after
        if guard and after.spec is not stored.spec and after.spec != stored.spec:
            self.respecified[stored.id] = None

    def save(self, attempt: Attempt, *, new: bool = False) -> None:
        new = new or self.attempts.get(attempt.id, (False, attempt))[0]
        self.attempts[attempt.id] = new, attempt
