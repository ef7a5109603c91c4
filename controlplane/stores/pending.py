"""Writes that wait for the commit, or for the first statement that might miss them.

A ticket that moves three times in one commit is written once, and all rows of one table by few statements.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.domain.event import NewEvent
from controlplane.domain.ticket import Attempt, Ticket
from controlplane.stores.session import Row

Guard = tuple[str, int]  # state and fence that the row has


@dataclass(slots=True)
class Pending:
    """By id, in the order in which they came. A row without a guard, and a new attempt, is to be inserted.

    `events` have no numbers yet; `numbered` are rows that have, and `topics` the newest number of each that moved on.
    `seen` says when a host was heard of, `positions` how far the messages of its daemon were taken in.
    """

    tickets: dict[str, tuple[Guard | None, Ticket]] = field(default_factory=dict)
    respecified: dict[str, None] = field(default_factory=dict)
    attempts: dict[str, tuple[bool, Attempt]] = field(default_factory=dict)
    events: list[tuple[NewEvent, float]] = field(default_factory=list)
    numbered: list[Row] = field(default_factory=list)
    topics: dict[str, int] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    positions: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tickets or self.attempts or self.events or self.numbered or self.seen or self.positions)

    @property
    def links(self) -> bool:
        """Whether it changes which ticket waits for which."""
        return bool(self.respecified) or any(guard is None for guard, _ in self.tickets.values())

    def move(self, stored: Ticket, after: Ticket) -> None:
        known = self.tickets.get(stored.id)
        guard = known[0] if known else (stored.state, stored.fence)
        self.tickets[stored.id] = guard, after
        if guard and after.spec is not stored.spec and after.spec != stored.spec:
            self.respecified[stored.id] = None

    def save(self, attempt: Attempt, *, new: bool = False) -> None:
        new = new or self.attempts.get(attempt.id, (False, attempt))[0]
        self.attempts[attempt.id] = new, attempt

    def clear(self) -> None:
        for each in (self.tickets, self.respecified, self.attempts, self.events, self.numbered, self.topics):
            each.clear()
        self.seen.clear()
        self.positions.clear()

    def join(self, later: Pending) -> None:
        """Takes over what a unit of work leaves, whose events have their numbers."""
        for ident, (guard, ticket) in later.tickets.items():
            self.tickets[ident] = self.tickets.get(ident, (guard, ticket))[0], ticket
        for new, attempt in later.attempts.values():
            self.save(attempt, new=new)
        self.respecified |= later.respecified
        self.numbered += later.numbered
        self.topics |= later.topics
        self.seen |= later.seen
        self.positions |= later.positions
