"""What the writer remembers of tickets, attempts and topics, so that it need not read back what it wrote a moment ago.

Sound because one process owns the database and one thread in it writes: whatever a unit of work stored and was undone
is forgotten again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from controlplane.domain.audit import Seals
from controlplane.domain.ticket import Attempt, Ticket

T = TypeVar("T")

# A few kilobytes each; what falls out is read again.
MOST: Final = 4096


class Shelf(Generic[T]):
    """Rows of one table by id, the longest untouched given up first."""

    def __init__(self) -> None:
        self._rows: dict[str, T] = {}

    def get(self, ident: str) -> T | None:
        return self._rows.get(ident)

    def among(self, idents: Iterable[str]) -> dict[str, T]:
        """Those of the ids that are known."""
        rows = self._rows
        return {ident: rows[ident] for ident in idents if ident in rows}

    def put(self, ident: str, row: T) -> None:
        self._rows.pop(ident, None)
        self._rows[ident] = row
        if len(self._rows) > MOST:
            del self._rows[next(iter(self._rows))]

    def forget(self, ident: str) -> None:
        self._rows.pop(ident, None)

    def clear(self) -> None:
        self._rows.clear()


class Memory:
    """One per writer. A unit of work notes what it changes; `undo` is told when that is rolled back.

    `seals` has the keys of the audit log; without any, rows are sealed with one that dies with the process.
    """

    def __init__(self, seals: Seals | None = None) -> None:
        self.seals = seals or Seals.of([secrets.token_hex(32)])
        self.tickets: Shelf[Ticket] = Shelf()
        self.attempts: Shelf[Attempt] = Shelf()
        self.topics: Shelf[int] = Shelf()
        self.sizes: Shelf[int] = Shelf()  # by topic bytes of its events, of those that were asked for
        self.waiting: Shelf[tuple[str, ...]] = Shelf()  # by ticket the ids of those that depend on it
        self.positions: Shelf[tuple[str, int]] = Shelf()

    def undo(self, ids: set[str]) -> None:
        for ident in ids:
            self.tickets.forget(ident)
            self.attempts.forget(ident)
            self.topics.forget(ident)
            self.sizes.forget(ident)
            self.waiting.forget(ident)
            self.positions.forget(ident)

    def clear(self) -> None:
        self.tickets.clear()
        self.attempts.clear()
        self.topics.clear()
        self.sizes.clear()
        self.waiting.clear()
        self.positions.clear()
