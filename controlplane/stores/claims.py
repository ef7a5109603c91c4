"""Claims of external agents."""

from __future__ import annotations

from controlplane.domain.claim import Claim
from controlplane.stores import statements
from controlplane.stores.session import Row
from controlplane.stores.tables import ClaimTable
from controlplane.stores.unit import Unit

INSERT_CLAIM = statements.insert(ClaimTable)
SELECT_CLAIM = statements.select(ClaimTable, "attempt_id = ?")
SELECT_CLAIM_BY_KEY = statements.select(ClaimTable, "principal = ? AND request_key = ?")
COUNT_EVENT_BYTES = "UPDATE claim SET event_bytes = ? WHERE attempt_id = ?"


class ClaimReads(Unit):
    def claim(self, attempt_id: str) -> Claim | None:
        return next(map(to_claim, self.session.rows(SELECT_CLAIM, (attempt_id,))), None)

    def claim_by_key(self, principal: str, key: str) -> Claim | None:
        return next(map(to_claim, self.session.rows(SELECT_CLAIM_BY_KEY, (principal, key))), None)


class ClaimWrites(ClaimReads):
    def add_claim(self, claim: Claim) -> None:
        self.session.change(INSERT_CLAIM, (claim_row(claim),))

    def count_event_bytes(self, attempt_id: str, total: int) -> None:
        self.session.change(COUNT_EVENT_BYTES, ((total, attempt_id),))


def claim_row(claim: Claim) -> Row:
    return (
        claim.attempt_id,
        claim.ticket_id,
        claim.host_id,
        claim.worker,
        claim.principal,
        claim.lease_s,
        claim.created_at,
        claim.request_key or None,  # what has no key is never alike
        claim.request_hash,
        claim.event_bytes,
    )


def to_claim(row: Row) -> Claim:
    named = dict(zip(statements.columns(ClaimTable), row, strict=True))
    return Claim(**{**named, "request_key": named["request_key"] or ""})
