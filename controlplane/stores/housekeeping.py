"""What is beyond its retention, and what cleanups did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from controlplane.domain.cleanup import CleanupReport, CleanupRun
from controlplane.domain.ticket import TERMINAL, Ticket
from controlplane.stores import statements
from controlplane.stores.session import Row
from controlplane.stores.tables import TicketTable
from controlplane.stores.tickets import to_ticket
from controlplane.stores.unit import Unit, pack, unpack

KEPT_RUNS: Final = 10
OVER: Final = sorted(state.value for state in TERMINAL)
SELECT_FINISHED = statements.select(
    TicketTable,
    f"{statements.within('state', len(OVER))} AND finished_at < ? AND (finished_at, id) > (?, ?)",
    "ORDER BY finished_at, id LIMIT ?",
)
SELECT_FIRST = "SELECT seq, time FROM event WHERE topic = ? ORDER BY seq LIMIT ?"
SELECT_RUNS = (
    "SELECT run FROM (SELECT id, host_id, started_at, run,"
    " ROW_NUMBER() OVER (PARTITION BY host_id ORDER BY id DESC) AS place FROM cleanup_run) AS ranked WHERE place <= ?"
)
INSERT_RUN = "INSERT INTO cleanup_run (host_id, started_at, run) VALUES (?, ?, ?)"
FORGET_RUNS = (
    "DELETE FROM cleanup_run WHERE host_id = ? AND id NOT IN"
    " (SELECT id FROM cleanup_run WHERE host_id = ? ORDER BY id DESC LIMIT ?)"
)
FORGET_EVENTS = "DELETE FROM event WHERE topic = ?"
FORGET_ROWS = (
    "DELETE FROM effect WHERE key IN (SELECT key FROM effect WHERE done_at < ? LIMIT ?)",
    "DELETE FROM vm WHERE id IN (SELECT id FROM vm WHERE stopped_at < ? AND state = 'stopped' LIMIT ?)",
    "DELETE FROM answer WHERE (principal, key) IN (SELECT principal, key FROM answer WHERE created_at < ? LIMIT ?)",
)


class HousekeepingReads(Unit):
    def finished_tickets(self, after: tuple[float, str], before: float, limit: int) -> list[Ticket]:
        return [to_ticket(row) for row in self.session.rows(SELECT_FINISHED, (*OVER, before, *after, limit))]

    def first_event(self, topic: str, count: int, before: float) -> int:
        old = [seq for seq, time in self.session.rows(SELECT_FIRST, (topic, count)) if time < before]
        return int(old[-1]) if old else 0

    def cleanup_runs(self, host_id: str | None, per_host: int) -> list[CleanupRun]:
        only, params = ("", ()) if host_id is None else (" AND host_id = ?", (host_id,))
        rows = self.session.rows(f"{SELECT_RUNS}{only} ORDER BY id DESC", (per_host, *params))
        return [to_run(row) for row in rows]


class HousekeepingWrites(HousekeepingReads):
    def forget_events(self, topics: Sequence[str], through: int | None = None) -> int:
        if through is None:
            return self.session.change(FORGET_EVENTS, ((topic,) for topic in topics))
        return self.session.change(f"{FORGET_EVENTS} AND seq <= ?", ((topic, through) for topic in topics))

    def forget_rows(self, before: float, limit: int) -> int:
        return sum(self.session.change(statement, ((before, limit),)) for statement in FORGET_ROWS)

    def add_cleanup_run(self, run: CleanupRun) -> None:
        self.session.change(INSERT_RUN, ((run.host_id, run.started_at, pack(asdict(run))),))
        self.session.change(FORGET_RUNS, ((run.host_id, run.host_id, KEPT_RUNS),))


def to_run(row: Row) -> CleanupRun:
    facts = unpack(row[0])
    report = facts["report"]
    return CleanupRun(**{**facts, "report": CleanupReport(**{**report, "details": tuple(report["details"])})})
