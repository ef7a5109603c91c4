"""Lists of tickets: filtered, ordered, page by page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Final

from peewee import ModelSelect, Tuple, fn

from controlplane.domain.ticket import Ticket
from controlplane.ports import Page, TicketFilter, TicketOrder
from controlplane.stores.tables import TagTable, TicketTable
from controlplane.stores.tickets import to_ticket
from controlplane.stores.tokens import page_size
from controlplane.stores.unit import Unit

ORDERS: Final[Mapping[TicketOrder, Any]] = {
    TicketOrder.KEY: TicketTable.number,
    TicketOrder.PRIORITY: fn.JSON_EXTRACT(TicketTable.spec, "$.priority"),
    TicketOrder.CREATED_AT: TicketTable.created_at,
    TicketOrder.UPDATED_AT: TicketTable.updated_at,
}
# As the database folds case: whatever is not ASCII counts as it stands.
FOLD: Final = str.maketrans(ascii_uppercase, ascii_lowercase)


class ListingReads(Unit):
    def tickets(self, tenant_id: str, where: TicketFilter, page: Page) -> tuple[list[Ticket], str]:
        rank, number = ORDERS[where.order], TicketTable.number
        scope = ("tickets", tenant_id, sorted(where.states), *astuple(where)[1:])
        query = TicketTable.select(TicketTable, rank, number.alias("position")).where(
            TicketTable.tenant_id == tenant_id, *chosen(where)
        )
        if page.token:
            query = query.where(behind(rank, self.tokens.read(json.dumps(scope), page.token), where))
        turned = [each.desc() if where.descending else each.asc() for each in (rank, number)]
        found = self.session.select(query.order_by(*turned).limit(page_size(page.size) + 1))
        return self.cut([(*row[:-2], row[-2:]) for row in found], scope, page, to_ticket)


def chosen(where: TicketFilter) -> list[Any]:
    """The conditions of a filter."""
    found: list[Any] = [
        column == value
        for column, value in (
            (TicketTable.project_id, where.project_id),
            (TicketTable.parent_id, where.parent_id),
            (fn.JSON_EXTRACT(TicketTable.spec, "$.assignee"), where.assignee),
        )
        if value
    ]
    if where.states:
        found.append(TicketTable.state.in_(sorted(where.states)))
    if where.tag:
        found.append(TicketTable.id.in_(tagged(where.tag)))
    if where.dead_letter:
        found.append(TicketTable.dead_letter)  # bare, as in the index
    if where.query:
        found.append(holding(where.query))
    return found


def tagged(tag: str) -> ModelSelect[Any]:
    return TagTable.select(TagTable.ticket_id).where(TagTable.tag == tag)


def holding(query: str) -> Any:
    texts = (TicketTable.key, *(fn.JSON_EXTRACT(TicketTable.spec, f"$.{name}") for name in ("title", "description")))
    wanted = query.translate(FOLD)
    first, *others = (fn.INSTR(fn.LOWER(text), wanted) > 0 for text in texts)
    for each in others:
        first |= each
    return first


def behind(rank: Any, position: Any, where: TicketFilter) -> Any:
    """What comes after a position, which is (rank, number) of the last row given."""
    here, last = Tuple(rank, TicketTable.number), Tuple(*position)
    return here < last if where.descending else here > last
