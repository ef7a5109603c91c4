from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from controlplane.domain.ticket import TicketState
from controlplane.errors import InvalidInput
from controlplane.ports import Page, Store, TicketFilter, TicketOrder
from tests.fakes.seeds import NOW, TENANT, a_ticket, a_vm, an_attempt

S = TicketState


@pytest.fixture
async def filled(store: Store) -> Store:
    """Priorities 5 1 5 1 0 5, changed in the reverse of the order in which they were made."""
    tickets = [
        a_ticket(
            number,
            priority=priority,
            created_at=NOW + number,
            updated_at=NOW + 10 - number,
            assignee="ann" if number % 2 else "",
            title=f"Ticket {number}",
            description=f"Über 100% of {number}\x00\ud800",
        )
        for number, priority in enumerate((5, 1, 5, 1, 0, 5), 1)
    ]
    await store.write(lambda tx: tx.add_tickets([*tickets, a_ticket(9, tenant_id="other", title="Ticket 1")]))
    return store


async def pages(store: Store, where: TicketFilter, size: int = 2) -> list[int]:
    found, token = list[int](), ""
    while True:
        page = Page(size, token)
        tickets, token = await store.read(lambda reader, page=page: reader.tickets(TENANT, where, page))  # type: ignore[misc]
        found += [int(ticket.key[4:]) for ticket in tickets]
        if not token:
            return found


@pytest.mark.parametrize(
    ("order", "numbers"),
    [
        (TicketOrder.KEY, [1, 2, 3, 4, 5, 6]),
        (TicketOrder.PRIORITY, [5, 2, 4, 1, 3, 6]),
        (TicketOrder.CREATED_AT, [1, 2, 3, 4, 5, 6]),
        (TicketOrder.UPDATED_AT, [6, 5, 4, 3, 2, 1]),
    ],
)
async def test_pages_follow_the_order(filled: Store, order: TicketOrder, numbers: Sequence[int]) -> None:
    assert await pages(filled, TicketFilter(order=order)) == numbers
    assert await pages(filled, TicketFilter(order=order, descending=True)) == [*reversed(numbers)]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("ticket 3", [3]),
        ("tkt-00", [1, 2, 3, 4, 5, 6]),
        ("OF 2", [2]),
        ("100%", [1, 2, 3, 4, 5, 6]),
        ("Über", [1, 2, 3, 4, 5, 6]),
        ("_", []),
        ("%", [1, 2, 3, 4, 5, 6]),
        ("\\", []),
        ("'", []),
    ],
)
async def test_texts_are_found_as_they_stand(filled: Store, query: str, numbers: Sequence[int]) -> None:
    assert await pages(filled, TicketFilter(query=query)) == numbers


async def test_a_token_is_good_for_one_filter_in_one_order(filled: Store) -> None:
    where = TicketFilter(assignee="ann", order=TicketOrder.PRIORITY)
    assert await pages(filled, where, 1) == [5, 1, 3]
    _, token = await filled.read(lambda reader: reader.tickets(TENANT, where, Page(1)))
    for other in (
        replace(where, descending=True),
        replace(where, order=TicketOrder.KEY),
        replace(where, assignee=""),
        replace(where, query="x"),
    ):
        with pytest.raises(InvalidInput, match="this list"):
            await filled.read(lambda reader, other=other: reader.tickets(TENANT, other, Page(1, token)))  # type: ignore[misc]


async def test_a_removed_ticket_leaves_nothing_of_its_own(store: Store) -> None:
    gone, stays = a_ticket(1, S.FAILED, fence=1, attempt_id="at_tk_1_1", tags=("ui",)), a_ticket(2, tags=("ui",))
    await store.write(lambda tx: tx.add_tickets([gone, stays]))
    await store.write(lambda tx: tx.add_attempts([an_attempt(gone)]))
    await store.write(lambda tx: tx.remove_tickets([gone]))
    assert await store.read(lambda reader: reader.ticket(TENANT, "tk_1")) is None
    assert await store.read(lambda reader: reader.attempts("tk_1")) == []
    assert await store.write(lambda tx: (tx.tickets_by_id(["tk_1"]), tx.attempts_by_id(["at_tk_1_1"]))) == ([], [])
    assert await pages(store, TicketFilter(tag="ui")) == [2]


async def test_a_removal_that_is_undone_never_was(store: Store) -> None:
    await store.write(lambda tx: tx.add_tickets([a_ticket(1)]))

    def fails(tx: object) -> None:
        tx.remove_tickets([a_ticket(1)])  # type: ignore[attr-defined]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await store.write(fails)
    assert await store.write(lambda tx: [one.id for one in tx.tickets_by_id(["tk_1"])]) == ["tk_1"]


async def test_a_vm_is_that_of_its_tickets_tenant(store: Store) -> None:
    theirs = a_ticket(1, S.FAILED, tenant_id="other")
    await store.write(lambda tx: tx.add_tickets([theirs]))
    await store.write(lambda tx: tx.save_vms([a_vm(1, ticket_id="tk_1"), a_vm(2)]))
    await store.write(lambda tx: tx.remove_tickets([theirs]))
    await store.write(lambda tx: tx.save_vms([a_vm(1, ticket_id="tk_1", misses=1)]))

    async def seen(tenant: str | None) -> list[str]:
        found, _ = await store.read(lambda reader: reader.vms("", include_stopped=True, page=Page(), tenant_id=tenant))
        return [vm.id for vm in found]

    assert [await seen(tenant) for tenant in ("other", TENANT, None)] == [["vm_1"], ["vm_2"], ["vm_1", "vm_2"]]
    assert await store.read(lambda reader: reader.vm("vm_1", TENANT)) is None
    assert (await store.read(lambda reader: reader.vm("vm_1", "other"))) == a_vm(1, ticket_id="tk_1", misses=1)
