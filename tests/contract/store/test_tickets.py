from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from controlplane.domain.epic import Children
from controlplane.domain.ticket import BootTier, BootTiming, Isolation, Resources, Ticket, TicketState, TicketType
from controlplane.errors import InvalidInput
from controlplane.ports import Page, Store, TicketFilter, Tx
from tests.fakes.seeds import NOW, TENANT, a_ticket, an_attempt

S = TicketState
EVERY = TicketFilter()


async def add(store: Store, *tickets: Ticket) -> None:
    await store.write(lambda tx: tx.add_tickets(tickets))


def assigned(ticket: Ticket) -> Ticket:
    return replace(ticket, state=S.ASSIGNED, fence=ticket.fence + 1, host_id="hs_1", lease_expires_at=NOW + 45)


async def test_a_ticket_comes_back_as_it_was_stored(store: Store) -> None:
    full = a_ticket(
        1,
        S.WAITING,
        type=TicketType.BUG,
        description="line\nline\x00\ud800",
        acceptance_criteria=("a", "b"),
        tags=("ui", "é"),
        input={"deep": [{"x": 1.5}, None, True]},
        resources=Resources(2, 512, 4096, "big", Isolation.KVM_QEMU, {"zone": "a"}),
        depends_on=("tk_8", "tk_9"),
        fence=3,
        attempts=2,
        host_id="hs_1",
        lease_expires_at=NOW + 1,
        dead_letter=True,
        causes=("vm_lost",),
        question="which?",
        last_log="…",
    )
    await add(store, full)
    assert await store.read(lambda reader: reader.ticket(TENANT, full.id)) == full
    assert await store.read(lambda reader: reader.ticket(TENANT, "TKT-001")) == full
    assert await store.read(lambda reader: reader.ticket("another", full.id)) is None


async def test_attempts_come_back_as_they_were_saved(store: Store) -> None:
    ticket = a_ticket(1, fence=1)
    attempt = an_attempt(ticket)
    ended = replace(attempt, vm_id="vm_1", boot=BootTiming(BootTier.T1S, 5, 6, 7), finished_at=NOW, exit_code=-9)
    await store.write(lambda tx: tx.add_attempts([attempt, an_attempt(replace(ticket, fence=2))]))
    await store.write(lambda tx: tx.save_attempts([ended]))
    assert await store.read(lambda reader: reader.attempt(attempt.id)) == ended
    assert [one.fence for one in await store.read(lambda reader: reader.attempts(ticket.id))] == [1, 2]


async def test_a_move_wins_once(store: Store) -> None:
    ticket = a_ticket(1)
    await add(store, ticket)
    move = (ticket, assigned(ticket))
    assert await store.write(lambda tx: tx.save_tickets([move])) == []
    assert await store.write(lambda tx: tx.save_tickets([move])) == [ticket.id]


async def test_a_stale_fence_loses_even_in_the_same_state(store: Store) -> None:
    ticket = a_ticket(1, S.RUNNING, fence=2)
    await add(store, ticket)
    stale = replace(ticket, fence=1)
    assert await store.write(lambda tx: tx.save_tickets([(stale, replace(stale, state=S.IN_REVIEW))])) == [ticket.id]
    assert await store.read(lambda reader: reader.ticket(TENANT, ticket.id)) == ticket


async def test_a_batch_names_its_losers_and_keeps_its_winners(store: Store) -> None:
    tickets = [a_ticket(number) for number in range(20)]
    await add(store, *tickets)
    taken = tickets[3:20:5]
    await store.write(lambda tx: tx.save_tickets([(one, assigned(one)) for one in taken]))
    lost = await store.write(lambda tx: tx.save_tickets([(one, assigned(one)) for one in tickets]))
    assert lost == [one.id for one in taken]
    found = await store.read(lambda reader: reader.tickets_by_id([one.id for one in tickets]))
    assert {(one.state, one.fence) for one in found} == {(S.ASSIGNED, 1)}


async def test_of_many_that_want_the_same_ticket_one_gets_it(store: Store) -> None:
    ticket = a_ticket(1)
    await add(store, ticket)
    racers = [replace(assigned(ticket), host_id=f"hs_{number}") for number in range(50)]

    async def race(after: Ticket) -> str:
        lost = await store.write(lambda tx: tx.save_tickets([(ticket, after)]))
        return "" if lost else after.host_id

    won = [host for host in await asyncio.gather(*map(race, racers)) if host]
    assert len(won) == 1
    after = await store.read(lambda reader: reader.ticket(TENANT, ticket.id))
    assert after is not None
    assert (after.host_id, after.fence) == (won[0], 1)


async def test_numbers_are_given_once_per_tenant(store: Store) -> None:
    async def take(count: int) -> range:
        first = await store.write(lambda tx: tx.next_ticket_number(TENANT, count))
        return range(first, first + count)

    taken = await asyncio.gather(*(take(count) for count in (1, 3, 2, 5, 1)))
    assert sorted(number for numbers in taken for number in numbers) == list(range(1, 13))
    assert await store.write(lambda tx: tx.next_ticket_number("another", 1)) == 1


async def test_dependents_children_and_live_tickets(store: Store) -> None:
    await add(
        store,
        a_ticket(1, S.COMPLETED),
        a_ticket(2, S.BLOCKED, depends_on=("tk_1",), parent_id="tk_9"),
        a_ticket(3, S.BLOCKED, depends_on=("tk_1", "tk_2"), parent_id="tk_9"),
        a_ticket(4, S.RUNNING, host_id="hs_1", tenant_id="another"),
    )
    assert [one.id for one in await store.read(lambda reader: reader.dependents(["tk_1", "tk_2"]))] == ["tk_2", "tk_3"]
    assert [one.id for one in await store.read(lambda reader: reader.children("tk_9"))] == ["tk_2", "tk_3"]
    assert [one.id for one in await store.read(lambda reader: reader.live_tickets())] == ["tk_2", "tk_3", "tk_4"]
    assert [one.id for one in await store.read(lambda reader: reader.leased_tickets("hs_1"))] == ["tk_4"]
    assert await store.read(lambda reader: reader.leased_tickets("hs_2")) == []
    assert await store.read(lambda reader: reader.ticket_counts()) == {S.COMPLETED: 1, S.BLOCKED: 2, S.RUNNING: 1}


async def test_children_are_counted_by_their_states_also_those_that_this_commit_moves(store: Store) -> None:
    child = {"parent_id": "tk_9"}
    before = a_ticket(2, S.RUNNING, fence=2, host_id="hs_1", **child)
    await add(
        store, a_ticket(1, S.FAILED, fence=4, **child), before, a_ticket(3, S.FAILED), a_ticket(4, S.READY, **child)
    )

    def move(tx: Tx) -> Children:
        tx.save_tickets([(before, replace(before, state=S.FAILED, host_id=""))])
        return tx.child_states("tk_9")

    assert await store.write(move) == Children({S.FAILED: 2, S.READY: 1}, begun=True, failed=("TKT-001", "TKT-002"))
    assert await store.read(lambda reader: reader.child_states("tk_1")) == Children()


async def test_a_cancelled_child_alone_has_not_begun_its_epic(store: Store) -> None:
    await add(store, a_ticket(1, S.CANCELLED, fence=1, parent_id="tk_9"), a_ticket(2, S.READY, parent_id="tk_9"))
    found = await store.read(lambda reader: reader.child_states("tk_9"))
    assert found == Children({S.CANCELLED: 1, S.READY: 1}, begun=False)


async def test_more_ids_than_a_statement_takes(store: Store) -> None:
    await add(store, *(a_ticket(number) for number in range(1200)))
    ids = [f"tk_{number}" for number in range(1300)]
    assert len(await store.read(lambda reader: reader.tickets_by_id(ids))) == 1200


async def test_a_changed_spec_is_found_by_its_new_tags(store: Store) -> None:
    ticket = a_ticket(1, tags=("old", "both"))
    await add(store, ticket)
    after = replace(ticket, spec=replace(ticket.spec, tags=("both", "new"), title="Another"))
    await store.write(lambda tx: tx.save_tickets([(ticket, after)]))

    async def tagged(tag: str) -> list[Ticket]:
        return (await page_of(store, Page(), TicketFilter(tag=tag)))[0]

    assert await tagged("old") == []
    assert await tagged("new") == await tagged("both") == [after]


async def page_of(
    store: Store, page: Page, where: TicketFilter = EVERY, tenant: str = TENANT
) -> tuple[list[Ticket], str]:
    return await store.read(lambda reader: reader.tickets(tenant, where, page))


async def pages(store: Store, where: TicketFilter, size: int) -> list[list[str]]:
    token, found = "", list[list[str]]()
    while token or not found:
        tickets, token = await page_of(store, Page(size, token), where)
        found.append([one.key for one in tickets])
    return found


async def test_pages_hold_each_ticket_once_in_order(store: Store) -> None:
    await add(store, *(a_ticket(number, S.READY if number % 2 else S.FAILED) for number in range(1, 12)))
    everything = await pages(store, TicketFilter(), 4)
    assert [len(page) for page in everything] == [4, 4, 3]
    assert sum(everything, []) == [f"TKT-{number:03d}" for number in range(1, 12)]  # noqa: RUF017
    assert await pages(store, TicketFilter(states=(S.FAILED,)), 5) == [
        ["TKT-002", "TKT-004", "TKT-006", "TKT-008", "TKT-010"]
    ]


async def test_tokens_of_elsewhere_are_refused(store: Store) -> None:
    await add(store, *(a_ticket(number) for number in range(1, 5)))
    _, token = await page_of(store, Page(2))
    assert token
    swapped = token[:-1] + ("A" if token[-1] != "A" else "B")
    forged = [swapped, "AAAA", "not base64!", token[::-1], "é", token * 40]
    for bad in forged:
        with pytest.raises(InvalidInput) as error:
            await page_of(store, Page(2, bad))
        assert [one.field for one in error.value.violations] == ["/page_token"]
    for where, tenant in ((TicketFilter(tag="x"), TENANT), (TicketFilter(), "another")):
        with pytest.raises(InvalidInput):
            await page_of(store, Page(2, token), where, tenant)


@pytest.mark.parametrize("size", [-1, 1001, 10**12])
async def test_page_sizes_have_bounds(store: Store, size: int) -> None:
    with pytest.raises(InvalidInput):
        await page_of(store, Page(size))
