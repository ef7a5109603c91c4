"""Failed attempts, and counts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from controlplane.domain.failure import Failure, Fault
from controlplane.domain.ids import least_id
from controlplane.ports import FailureCount
from controlplane.stores import statements
from controlplane.stores.session import Row
from controlplane.stores.tables import FailureTable
from controlplane.stores.unit import Unit

INSERT_FAILURE = statements.upsert(FailureTable, "attempt_id")
SELECT_FAILURES = statements.select(FailureTable, "ticket_id = ?", "ORDER BY at")
FAILED = "cause, fault, failure.host_id, agent"
COUNT_FAILURES = (
    f"SELECT {FAILED}, COUNT(*) FROM failure JOIN ticket ON ticket.id = ticket_id"  # noqa: S608 - our own columns
    f" WHERE at >= ? AND tenant_id = ? GROUP BY {FAILED}"
)
COUNT_ATTEMPTS = (  # ids sort by the time of making
    "SELECT COUNT(*) FROM attempt JOIN ticket ON ticket.id = ticket_id WHERE attempt.id >= ? AND tenant_id = ?"
)
COUNT_DEAD_LETTERS = "SELECT COUNT(*) FROM ticket WHERE dead_letter AND tenant_id = ?"


class FailureReads(Unit):
    def failures(self, ticket_id: str) -> list[Failure]:
        return [to_failure(row) for row in self.session.rows(SELECT_FAILURES, (ticket_id,))]

    def failures_since(self, tenant_id: str, since: float) -> list[FailureCount]:
        return [FailureCount(*row) for row in self.session.rows(COUNT_FAILURES, (since, tenant_id))]

    def attempts_since(self, tenant_id: str, since: float) -> int:
        return int(self.session.rows(COUNT_ATTEMPTS, (least_id("at", since), tenant_id))[0][0])

    def dead_letters(self, tenant_id: str) -> int:
        return int(self.session.rows(COUNT_DEAD_LETTERS, (tenant_id,))[0][0])


class FailureWrites(FailureReads):
    def add_failures(self, failures: Sequence[Failure]) -> None:
        self.raw.change(INSERT_FAILURE, map(astuple, failures))


def to_failure(row: Row) -> Failure:
    named = dict(zip(statements.columns(FailureTable), row, strict=True))
    return Failure(**{**named, "fault": Fault(named["fault"])})
