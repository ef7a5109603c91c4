from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.call import Call
from controlplane.domain.event import NewEvent
from controlplane.domain.ticket import AttemptState, Ticket, TicketSpec, TicketState, TicketType
from controlplane.errors import FailedPrecondition, InvalidInput, NotFound
from controlplane.events.bus import LocalBus
from controlplane.ports import Store
from controlplane.usecases import tickets
from tests.fakes.seeds import NOW, TENANT, a_call, a_ticket, an_attempt

S = TicketState


async def add(store: Store, *found: Ticket) -> None:
    await store.write(lambda tx: tx.add_tickets(found))


def leased(number: int, state: TicketState, **fields: Any) -> Ticket:
    return replace(
        a_ticket(number, state), fence=1, attempts=1, host_id="hs_1", attempt_id=f"at_tk_{number}_1", **fields
    )


async def test_a_ticket_of_another_tenant_is_not_found(store: Store, call: Call) -> None:
    await add(store, a_ticket(1, tenant_id="another"))
    with pytest.raises(NotFound):
        await store.read(lambda reader: tickets.get_ticket(reader, call, "TKT-001"))


async def test_only_named_fields_change(store: Store, call: Call) -> None:
    await add(store, a_ticket(1, tags=("a",), priority=3))
    new = TicketSpec(title="Better", tags=("b",), priority=9)
    after = await store.write(lambda tx: tickets.update_ticket(tx, call, "TKT-001", new, ["title", "tags"]))
    assert (after.spec.title, after.spec.tags, after.spec.priority) == ("Better", ("b",), 3)
    assert await store.read(lambda reader: reader.ticket(TENANT, "TKT-001")) == after
    listed = await store.read(lambda reader: reader.events("tickets", 0, 9))
    assert [(one.type, one.data["ticket_id"]) for one in listed] == [("ticket.updated", "tk_1")]


@pytest.mark.parametrize(("path", "pointer"), [("depends_on", "/spec/depends_on"), ("nonsense", "/spec/nonsense")])
async def test_other_fields_cannot_change(store: Store, call: Call, path: str, pointer: str) -> None:
    await add(store, a_ticket(1))
    with pytest.raises(InvalidInput) as error:
        await store.write(lambda tx: tickets.update_ticket(tx, call, "TKT-001", TicketSpec("x"), ["title", path]))
    assert [one.field for one in error.value.violations] == [pointer]


async def test_a_finished_ticket_does_not_change(store: Store, call: Call) -> None:
    await add(store, a_ticket(1, S.COMPLETED))
    with pytest.raises(FailedPrecondition):
        await store.write(lambda tx: tickets.update_ticket(tx, call, "TKT-001", TicketSpec("x"), ["title"]))


async def test_a_cancelled_run_is_revoked_and_blocks_its_dependents(store: Store, call: Call) -> None:
    running = leased(1, S.RUNNING)
    await add(store, running, a_ticket(2, S.BLOCKED, depends_on=("tk_1",)))
    await store.write(lambda tx: tx.add_attempts([an_attempt(running)]))
    after = await store.write(lambda tx: tickets.cancel_ticket(tx, call, "TKT-001", "not needed"))
    assert (after.state, after.state_reason, after.host_id) == (S.CANCELLED, "not needed", "")
    attempt = await store.read(lambda reader: reader.attempt("at_tk_1_1"))
    assert attempt is not None
    assert (attempt.state, attempt.finished_at) == (AttemptState.CANCELLED, NOW)
    effects = await store.read(lambda reader: reader.due_effects(NOW, 9))
    assert [(one.kind, one.payload["host_id"], one.payload["fence"]) for one in effects] == [("revoke", "hs_1", 1)]
    dependent = await store.read(lambda reader: reader.ticket(TENANT, "TKT-002"))
    assert dependent is not None
    assert dependent.state is S.BLOCKED
    assert "TKT-001" in dependent.state_reason


async def test_cancelling_twice_is_refused(store: Store, call: Call) -> None:
    await add(store, a_ticket(1))
    await store.write(lambda tx: tickets.cancel_ticket(tx, call, "TKT-001", ""))
    with pytest.raises(FailedPrecondition):
        await store.write(lambda tx: tickets.cancel_ticket(tx, call, "TKT-001", ""))


async def test_an_epic_is_cancelled_and_retried_through_its_children(store: Store, call: Call) -> None:
    epic = a_ticket(9, S.RUNNING, type=TicketType.EPIC)
    await add(store, epic, a_ticket(1, S.COMPLETED, parent_id=epic.id), a_ticket(2, parent_id=epic.id))
    after = await store.write(lambda tx: tickets.cancel_ticket(tx, call, epic.key, ""))
    children = await store.read(lambda reader: reader.children(epic.id))
    assert [one.state for one in children] == [S.COMPLETED, S.CANCELLED]
    assert after.state is S.COMPLETED
    retried = await store.write(lambda tx: tickets.retry_ticket(tx, call, epic.key))
    assert retried.state is not S.COMPLETED
    assert [one.state for one in await store.read(lambda reader: reader.children(epic.id))] == [S.COMPLETED, S.READY]


async def test_a_retry_starts_with_a_clean_slate(store: Store, call: Call) -> None:
    await add(store, a_ticket(1, S.FAILED, dead_letter=True, causes=("agent_crashed",) * 4, fence=4))
    after = await store.write(lambda tx: tickets.retry_ticket(tx, call, "TKT-001"))
    assert (after.state, after.dead_letter, after.causes, after.fence) == (S.READY, False, (), 4)


async def test_an_answer_goes_to_the_host_through_the_outbox(store: Store, call: Call) -> None:
    await add(store, leased(1, S.WAITING, question="red or blue?"))
    after = await store.write(lambda tx: tickets.answer_question(tx, call, "TKT-001", "red"))
    assert (after.state, after.question) == (S.RUNNING, "")
    (effect,) = await store.read(lambda reader: reader.due_effects(NOW, 9))
    assert (effect.kind, effect.payload["text"], effect.payload["attempt_id"]) == ("answer", "red", "at_tk_1_1")
    events = await store.read(lambda reader: reader.events("ticket:tk_1", 0, 9))
    told = {"question": "red or blue?", "answer": "red", "by": "alice", "attempt": "at_tk_1_1", "number": 1}
    assert events[0].data == told
    with pytest.raises(FailedPrecondition):
        await store.write(lambda tx: tickets.answer_question(tx, call, "TKT-001", "blue"))


async def test_answers_are_counted_for_each_attempt(store: Store, call: Call) -> None:
    async def answered(ticket: Ticket) -> tuple[str, int]:
        await store.write(lambda tx: tickets.answer_question(tx, call, ticket.key, "red"))
        effect = (await store.read(lambda reader: reader.due_effects(NOW, 9)))[-1]
        return effect.key, effect.payload["number"]

    async def change(ticket: Ticket, **fields: Any) -> Ticket:
        (known,) = await store.read(lambda reader: reader.tickets_by_id([ticket.id]))
        after = replace(known, state=S.WAITING, **fields)
        await store.write(lambda tx: tx.save_tickets([(known, after)]))
        return after

    ticket = leased(1, S.WAITING, question="red or blue?")
    await add(store, ticket)
    assert await answered(ticket) == ("answer:at_tk_1_1:1", 1)
    ticket = await change(ticket)
    assert await answered(ticket) == ("answer:at_tk_1_1:2", 2)
    ticket = await change(ticket, attempt_id="at_tk_1_2", fence=2)
    assert await answered(ticket) == ("answer:at_tk_1_2:1", 1)


async def test_events_by_cursor_and_tail(store: Store, call: Call) -> None:
    await add(store, a_ticket(1))
    await store.write(lambda tx: tx.add_events([NewEvent("ticket:tk_1", "x", {"n": n}) for n in range(1, 6)], NOW))

    async def listed(cursor: int, limit: int = 0, tail: int = 0) -> tuple[list[int], int]:
        events, after = await store.read(
            lambda reader: tickets.list_events(reader, call, "TKT-001", cursor=cursor, limit=limit, tail=tail)
        )
        return [one.seq for one in events], after

    assert await listed(0, 2) == ([1, 2], 2)
    assert await listed(2) == ([3, 4, 5], 5)
    assert await listed(5) == ([], 5)
    assert await listed(0, tail=2) == ([4, 5], 5)
    assert await listed(2**64 - 1) == ([], 2**64 - 1)


async def test_a_watch_replays_then_follows_without_a_gap(store: Store, bus: LocalBus, call: Call) -> None:
    await add(store, a_ticket(1))

    async def happen(*numbers: int) -> None:
        await store.write(lambda tx: tx.add_events([NewEvent("ticket:tk_1", "x", {"n": n}) for n in numbers], NOW))

    await happen(1, 2)
    watch = tickets.watch_ticket(store, bus, call, "TKT-001", 1)
    events, ticket = await anext(watch)
    assert [one.seq for one in events] == [2]
    assert ticket.key == "TKT-001"
    following = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    assert not following.done()
    await happen(3, 4)
    events, _ = await following
    assert [one.seq for one in events] == [3, 4]
    await store.write(lambda tx: tickets.cancel_ticket(tx, call, "TKT-001", "enough"))
    events, ticket = await anext(watch)
    assert [one.type for one in events] == ["ticket.state"]
    assert ticket.state is S.CANCELLED


async def test_a_watch_without_events_shows_the_ticket_at_once(store: Store, bus: LocalBus, call: Call) -> None:
    await add(store, a_ticket(1))
    events, ticket = await anext(tickets.watch_ticket(store, bus, call, "tk_1", 0))
    assert (events, ticket.id) == ([], "tk_1")
    with pytest.raises(NotFound):
        await anext(tickets.watch_ticket(store, bus, a_call(tenant="another"), "tk_1", 0))
