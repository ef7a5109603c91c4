"""What attempts used, and what that comes to by day."""

from __future__ import annotations

from typing import Final

from controlplane.domain.ids import least_id
from controlplane.domain.usage import Usage, UsageRow
from controlplane.stores.session import Row
from controlplane.stores.unit import Unit

ADD: Final = (
    "INSERT INTO usage (attempt_id, input_tokens, output_tokens, cost_usd) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (attempt_id) DO UPDATE SET input_tokens = input_tokens + excluded.input_tokens,"
    " output_tokens = output_tokens + excluded.output_tokens, cost_usd = cost_usd + excluded.cost_usd"
)
DAY: Final = "CAST(attempt.assigned_at / 86400 AS INTEGER)"
# Ids of attempts begin with their time: the range is one of the primary key.
BY_DAY: Final = f"""
SELECT {DAY}, ticket.tenant_id, ticket.project_id, COALESCE(json_extract(ticket.spec, '$.assignee'), ''),
    count(DISTINCT ticket.id), count(*),
    COALESCE(SUM(CASE WHEN attempt.vm_id <> '' THEN attempt.finished_at - attempt.started_at END), 0),
    COALESCE(SUM(usage.input_tokens), 0), COALESCE(SUM(usage.output_tokens), 0), COALESCE(SUM(usage.cost_usd), 0)
FROM attempt JOIN ticket ON ticket.id = attempt.ticket_id LEFT JOIN usage ON usage.attempt_id = attempt.id
WHERE attempt.id >= ? AND attempt.id < ? AND (? = '' OR ticket.tenant_id = ?)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 LIMIT ?
"""  # noqa: S608 - our own words only


class UsageReads(Unit):
    def usage(self, tenant_id: str, since: float, until: float, limit: int) -> list[UsageRow]:
        rows = self.session.rows(BY_DAY, (least_id("at", since), least_id("at", until), tenant_id, tenant_id, limit))
        return [to_row(row) for row in rows]


class UsageWrites(UsageReads):
    def add_usage(self, attempt_id: str, usage: Usage) -> None:
        self.session.change(ADD, ((attempt_id, usage.input_tokens, usage.output_tokens, usage.cost_usd),))


def to_row(row: Row) -> UsageRow:
    day, tenant_id, project_id, user, tickets, attempts, vm_s, *used = row
    return UsageRow(day, tenant_id, project_id, user, tickets, attempts, vm_s, Usage(*used))
