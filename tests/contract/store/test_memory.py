"""What the writer remembers and puts off never shows: not after a unit that failed, nor to the statements of one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from controlplane.domain.event import NewEvent
from controlplane.domain.ticket import AttemptState, Ticket, TicketState
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.errors import NotFound
from controlplane.ports import Moved, Page, Store, TicketFilter, Tx
from tests.fakes.seeds import NOW, TENANT, a_ticket, an_attempt

S = TicketState


def running(ticket: Ticket) -> Ticket:
    return replace(ticket, state=S.RUNNING, fence=ticket.fence + 1, host_id="hs_1")


def listed(ticket: Ticket) -> NewEvent:
    return NewEvent(TICKETS_TOPIC, "ticket.state", {"ticket_id": ticket.id})


async def test_what_a_failed_unit_wrote_is_forgotten(store: Store) -> None:
    ticket, attempt = a_ticket(1), an_attempt(a_ticket(1, fence=1))
    await store.write(lambda tx: tx.add_tickets([ticket]))
    await store.write(lambda tx: tx.add_attempts([attempt]))

    def fail(tx: Tx) -> None:
        tx.save_tickets([(ticket, running(ticket))])
        tx.save_attempts([replace(attempt, state=AttemptState.LOST)])
        raise NotFound("after all")

    with pytest.raises(NotFound):
        await store.write(fail)
    assert await store.write(lambda tx: tx.tickets_by_id([ticket.id])) == [ticket]
    assert await store.write(lambda tx: tx.attempt(attempt.id)) == attempt
    assert await store.write(lambda tx: tx.save_tickets([(ticket, running(ticket))])) == []


async def test_a_ticket_that_moves_twice_in_one_unit_ends_where_it_went_last(store: Store) -> None:
    ticket = a_ticket(1)
    second = running(ticket)
    third = replace(second, state=S.COMPLETED, host_id="", spec=replace(second.spec, tags=("new",)))

    def work(tx: Tx) -> list[str]:
        tx.add_tickets([ticket])
        lost = tx.save_tickets([(ticket, second)]) + tx.save_tickets([(second, third)])
        return lost + tx.save_tickets([(ticket, second)])

    assert await store.write(work) == [ticket.id]
    assert await store.read(lambda reader: reader.tickets_by_id([ticket.id])) == [third]
    tagged = await store.read(lambda reader: reader.tickets(TENANT, TicketFilter(tag="new"), Page()))
    assert tagged[0] == [third]


async def test_every_read_of_a_unit_sees_what_it_put_off(store: Store) -> None:
    ticket = a_ticket(1)
    waiting = a_ticket(2, S.BLOCKED, depends_on=(ticket.id,))
    attempt = an_attempt(running(ticket))

    def work(tx: Tx) -> None:
        tx.add_tickets([ticket, waiting])
        assert [one.id for one in tx.dependents([ticket.id])] == [waiting.id]
        tx.save_tickets([(ticket, running(ticket))])
        tx.add_attempts([attempt])
        tx.add_events([listed(ticket)], NOW)
        assert [one.id for one in tx.leased_tickets("hs_1")] == [ticket.id]
        assert [(host, count) for host, _, count in tx.leased_sizes(["hs_1"])] == [("hs_1", 1)]
        assert tx.attempts(ticket.id) == [attempt]
        assert [one.data["ticket_id"] for one in tx.tail(TICKETS_TOPIC, 1)] == [ticket.id]

    await store.write(work)


async def test_watchers_hear_each_unit_once_in_order_without_gaps(store: Store) -> None:
    heard: list[Moved] = []
    store.watch(heard.append)

    def work(tx: Tx, number: int) -> None:
        ticket = a_ticket(number)
        tx.add_tickets([ticket])
        tx.add_events([listed(ticket), listed(ticket)], NOW)
        if number % 4 == 0:
            raise NotFound("undone")

    units = (store.write(lambda tx, number=number: work(tx, number)) for number in range(40))  # type: ignore[misc]
    await asyncio.gather(*units, return_exceptions=True)
    await store.write(lambda tx: tx.add_tickets([a_ticket(99)]))  # without an event: nobody is told
    assert [(each.after, each.upto) for each in heard] == [(2 * number, 2 * number + 2) for number in range(30)]
    assert [each.tickets for each in heard] == [(a_ticket(number),) for number in range(40) if number % 4]
    assert [each.events for each in heard] == [(listed(a_ticket(number)),) * 2 for number in range(40) if number % 4]


async def test_who_waits_for_whom_is_known_after_new_ones_failed_ones_and_changed_ones(store: Store) -> None:
    first, second = a_ticket(1), a_ticket(2)
    second = replace(second, spec=replace(second.spec, depends_on=(first.id,)))
    free = replace(second, spec=replace(second.spec, depends_on=()))
    await store.write(lambda tx: tx.add_tickets([first]))

    def fail(tx: Tx) -> None:
        tx.add_tickets([second])
        assert tx.dependents([first.id]) == [second]
        raise NotFound("after all")

    with pytest.raises(NotFound):
        await store.write(fail)
    assert await store.write(lambda tx: tx.dependents([first.id])) == []
    await store.write(lambda tx: tx.add_tickets([second]))
    assert await store.write(lambda tx: tx.dependents([first.id])) == [second]
    assert await store.write(lambda tx: tx.save_tickets([(second, free)])) == []
    assert await store.write(lambda tx: tx.dependents([first.id])) == []


async def test_a_unit_that_fails_takes_nothing_from_those_before_it_in_its_commit(store: Store) -> None:
    ticket = a_ticket(1)
    await store.write(lambda tx: tx.add_tickets([ticket]))
    moved = running(ticket)
    ended = replace(moved, state=S.COMPLETED, host_id="")

    def move(tx: Tx) -> None:
        assert tx.save_tickets([(ticket, moved)]) == []
        tx.add_events([listed(moved)], NOW)

    def fail(tx: Tx) -> None:
        tx.save_tickets([(moved, ended)])
        tx.add_events([listed(ended)], NOW)
        tx.host("nobody")  # a statement: what was put off is written, and then undone
        raise NotFound("after all")

    def end(tx: Tx) -> None:
        assert tx.tickets_by_id([ticket.id]) == [moved]
        assert tx.save_tickets([(moved, ended)]) == []
        tx.add_events([listed(ended)], NOW)

    results = await asyncio.gather(*map(store.write, (move, fail, end)), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), NotFound, type(None)]
    assert await store.read(lambda reader: reader.tickets_by_id([ticket.id])) == [ended]
    found = await store.read(lambda reader: reader.events(TICKETS_TOPIC, 0, 10))
    assert [event.seq for event in found] == [1, 2]
