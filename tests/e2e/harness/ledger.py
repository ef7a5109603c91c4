"""What a control plane stored, read from its SQLite file by the side: the last word of a run at rest."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TicketRow:
    id: str
    key: str
    state: str
    fence: int
    attempts: int
    dead_letter: bool
    causes: Sequence[str]
    head: str
    project_id: str
    pull_request_id: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """Times are epoch seconds of the control plane's clock."""

    id: str
    ticket_id: str
    number: int
    fence: int
    host_id: str
    state: str
    cause: str
    head: str
    assigned_at: float
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class EventRow:
    topic: str
    seq: int
    type: str
    time: float
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PullRow:
    ticket_id: str
    ticket_key: str
    project_id: str
    head_branch: str
    head: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """Attempts are in order of their number, events in order of their topic and sequence."""

    tickets: Sequence[TicketRow] = ()
    attempts: Sequence[AttemptRow] = ()
    events: Sequence[EventRow] = ()
    pulls: Sequence[PullRow] = ()
    undelivered: Sequence[str] = ()
    faults: Sequence[str] = field(default=())

    def attempts_of(self) -> dict[str, list[AttemptRow]]:
        """Attempts by ticket."""
        found: dict[str, list[AttemptRow]] = {ticket.id: [] for ticket in self.tickets}
        for attempt in self.attempts:
            found.setdefault(attempt.ticket_id, []).append(attempt)
        return found

    def events_of(self) -> dict[str, list[EventRow]]:
        """Events by topic."""
        found: dict[str, list[EventRow]] = {}
        for event in self.events:
            found.setdefault(event.topic, []).append(event)
        return found


def read(database: Path) -> Ledger:
    """All of it, in one read transaction; nothing is written. `faults`: what SQLite says of its own file."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        checked = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        return Ledger(
            tickets=[_ticket(row) for row in connection.execute("SELECT * FROM ticket ORDER BY number")],
            attempts=[_attempt(row) for row in connection.execute("SELECT * FROM attempt ORDER BY ticket_id, number")],
            events=[_event(row) for row in connection.execute("SELECT * FROM event ORDER BY topic, seq")],
            pulls=[_pull(row) for row in connection.execute("SELECT * FROM pull_request ORDER BY project_id, number")],
            undelivered=[str(row[0]) for row in connection.execute("SELECT key FROM effect WHERE done_at IS NULL")],
            faults=[line for line in checked if line != "ok"],
        )


def _ticket(row: sqlite3.Row) -> TicketRow:
    return TicketRow(
        id=row["id"],
        key=row["key"],
        state=row["state"],
        fence=row["fence"],
        attempts=row["attempts"],
        dead_letter=bool(row["dead_letter"]),
        causes=tuple(json.loads(row["causes"])),
        head=row["head"],
        project_id=row["project_id"],
        pull_request_id=row["pull_request_id"],
    )


def _attempt(row: sqlite3.Row) -> AttemptRow:
    return AttemptRow(
        id=row["id"],
        ticket_id=row["ticket_id"],
        number=row["number"],
        fence=row["fence"],
        host_id=row["host_id"],
        state=row["state"],
        cause=row["cause"],
        head=row["head"],
        assigned_at=row["assigned_at"],
        finished_at=row["finished_at"],
    )


def _event(row: sqlite3.Row) -> EventRow:
    return EventRow(row["topic"], row["seq"], row["type"], row["time"], json.loads(row["data"]))


def _pull(row: sqlite3.Row) -> PullRow:
    return PullRow(row["ticket_id"], row["ticket_key"], row["project_id"], row["head_branch"], row["head"])
