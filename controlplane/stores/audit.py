"""The audit log. Rows are sealed in the order of the commits, within the transaction of what they tell of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, replace
from typing import Any, Final

from peewee import ModelSelect

from controlplane.domain.audit import ROTATED, SYSTEM, AuditFilter, AuditHead, AuditRow
from controlplane.ports import Page
from controlplane.stores import statements
from controlplane.stores.session import Row
from controlplane.stores.tables import AuditTable
from controlplane.stores.tokens import page_size
from controlplane.stores.unit import Unit, pack, unpack

INSERT: Final = statements.insert(AuditTable)
SEAL: Final = statements.update(AuditTable, ("key", "mac"), ("seq",))
SELECT_AFTER: Final = statements.select(AuditTable, "seq > ?", "ORDER BY seq LIMIT ?")
SELECT_ONE: Final = statements.select(AuditTable, "seq = ?")
SELECT_HEAD: Final = "SELECT seq, key, mac FROM audit ORDER BY seq DESC LIMIT 1"
SELECT_SEALED: Final = "SELECT 1 FROM audit WHERE mac <> '' LIMIT 1"
PAGE: Final = 1000

Head = tuple[int, str, str]  # number, key, seal


class AuditReads(Unit):
    def audit(self, after: int, limit: int) -> list[AuditRow]:
        return [to_audit_row(row) for row in self.session.rows(SELECT_AFTER, (after, limit))]

    def audit_row(self, seq: int) -> AuditRow | None:
        found = self.session.rows(SELECT_ONE, (seq,))
        return to_audit_row(found[0]) if found else None

    def audit_head(self) -> AuditHead | None:
        seq, _, mac = self._head()
        return AuditHead(seq, mac) if seq else None

    def audit_page(self, where: AuditFilter, page: Page) -> tuple[list[AuditRow], str]:
        scope = ("audit", *astuple(where))
        query = narrowed(AuditTable.select(AuditTable, AuditTable.seq.alias("position")), where)
        if page.token:
            query = query.where(AuditTable.seq < self.tokens.read(json.dumps(scope), page.token))
        found = self.session.select(query.order_by(AuditTable.seq.desc()).limit(page_size(page.size) + 1))
        return self.cut(found, scope, page, to_audit_row)

    def _head(self) -> Head:
        found = self.session.rows(SELECT_HEAD)
        return found[0] if found else (0, "", "")


class AuditWrites(AuditReads):
    def add_audit(
        self,
        action: str,
        principal: str,
        request_id: str,
        data: Mapping[str, Any],
        now: float,
        *,
        tenant_id: str = "",
        user_id: str = "",
    ) -> None:
        # The head is read each time: a unit of work that is undone takes its rows with it.
        seq, key, mac = self._head()
        current = self.memory.seals.current
        if key not in {current, ""} and key in self.memory.seals.keys:
            mark = AuditRow(seq + 1, now, ROTATED, SYSTEM, request_id, {"key": current, "before": key}, key=key)
            seq, mac = seq + 1, self._append(mark, mac)
        row = AuditRow(seq + 1, now, action, principal, request_id, dict(data), tenant_id, user_id, current)
        self._append(row, mac)

    def seal_audit(self) -> int:
        """Seal rows from before there were seals; answers how many. None, where any row has one."""
        if self.session.rows(SELECT_SEALED):
            return 0
        seals, mac, last, count = self.memory.seals, "", 0, 0
        while rows := self.audit(last, PAGE):
            sealed = []
            for row in rows:
                mac = seals.mac(seals.current, mac, row)
                sealed.append((seals.current, mac, row.seq))
            last, count = rows[-1].seq, count + self.session.change(SEAL, sealed)
        return count

    def _append(self, row: AuditRow, before: str) -> str:
        mac = self.memory.seals.mac(row.key, before, row)
        self.session.change(INSERT, (to_row(replace(row, mac=mac)),))
        return mac


def narrowed(query: ModelSelect[Any], where: AuditFilter) -> ModelSelect[Any]:
    tenants = [where.tenant_id, ""] if where.untenanted else [where.tenant_id]
    query = query.where(AuditTable.tenant_id.in_(tenants))
    if where.actor:
        query = query.where((AuditTable.principal == where.actor) | (AuditTable.user_id == where.actor))
    if where.action.endswith("*"):
        start = where.action[:-1]
        query = query.where((AuditTable.action >= start) & (AuditTable.action < f"{start}\U0010ffff"))
    elif where.action:
        query = query.where(AuditTable.action == where.action)
    if where.request_id:
        query = query.where(AuditTable.request_id == where.request_id)
    if where.since is not None:
        query = query.where(AuditTable.time >= where.since)
    return query if where.until is None else query.where(AuditTable.time < where.until)


def to_row(row: AuditRow) -> Row:
    subject = (row.seq, row.time, row.action, row.principal, row.request_id, pack(row.data))
    return (*subject, row.tenant_id, row.user_id, row.key, row.mac)


def to_audit_row(row: Row) -> AuditRow:
    seq, time, action, principal, request_id, data, *rest = row
    return AuditRow(seq, time, action, principal, request_id, unpack(data), *rest)
