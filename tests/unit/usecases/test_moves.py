from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.ticket import Ticket, TicketState, TicketType
from controlplane.domain.transitions import Action, advance
from controlplane.errors import Conflict
from controlplane.ports import Store
from controlplane.usecases.moves import blocked_by, commit_steps
from tests.fakes.seeds import NOW, a_ticket

S = TicketState


async def add(store: Store, *tickets: Ticket) -> None:
    await store.write(lambda tx: tx.add_tickets(tickets))


async def move(store: Store, ident: str, action: Action, **facts: Any) -> list[tuple[str, TicketState]]:
    """Advances a stored ticket; answers all that moved with it."""
    (ticket,) = await store.read(lambda reader: reader.tickets_by_id([ident]))
    step = advance(ticket, action, NOW, **facts)
    steps = await store.write(lambda tx: commit_steps(tx, [step], NOW))
    return [(each.ticket.id, each.ticket.state) for each in steps]


async def states(store: Store, idents: Sequence[str]) -> list[TicketState]:
    found = {one.id: one.state for one in await store.read(lambda reader: reader.tickets_by_id(idents))}
    return [found[ident] for ident in idents]


async def test_the_last_dependency_unblocks_and_the_first_does_not(store: Store) -> None:
    waiting = a_ticket(3, S.BLOCKED, depends_on=("tk_1", "tk_2"), state_reason="waits for TKT-001, TKT-002")
    await add(store, a_ticket(1, S.RUNNING), a_ticket(2, S.RUNNING), waiting)
    assert await move(store, "tk_1", Action.FINISH, head="a" * 40) == [("tk_1", S.IN_REVIEW), ("tk_3", S.BLOCKED)]
    (ticket,) = await store.read(lambda reader: reader.tickets_by_id(["tk_3"]))
    assert ticket.state_reason == "waits for TKT-002"
    assert await move(store, "tk_2", Action.FINISH, head="") == [("tk_2", S.COMPLETED), ("tk_3", S.READY)]


async def test_a_closed_pull_request_blocks_what_has_not_begun_and_leaves_what_has(store: Store) -> None:
    dependents = [a_ticket(number, state, depends_on=("tk_1",)) for number, state in ((2, S.READY), (3, S.RUNNING))]
    await add(store, a_ticket(1, S.IN_REVIEW, head="a" * 40), *dependents)
    await move(store, "tk_1", Action.CLOSE)
    assert await states(store, ["tk_1", "tk_2", "tk_3"]) == [S.FAILED, S.BLOCKED, S.RUNNING]
    (ticket,) = await store.read(lambda reader: reader.tickets_by_id(["tk_2"]))
    assert ticket.state_reason == "TKT-001 failed"


@pytest.mark.parametrize("action", [Action.LOSE, Action.FAIL])
async def test_what_lost_a_dependency_while_it_ran_is_not_queued_again(store: Store, action: Action) -> None:
    await add(store, a_ticket(1, S.FAILED), a_ticket(2, S.RUNNING, depends_on=("tk_1",)))
    moved = await move(store, "tk_2", action, cause="vm_lost" if action is Action.LOSE else "agent_failed")
    assert moved == [("tk_2", S.READY), ("tk_2", S.BLOCKED)]
    (ticket,) = await store.read(lambda reader: reader.tickets_by_id(["tk_2"]))
    assert ticket.state_reason == "TKT-001 failed"


async def test_an_epic_follows_and_unblocks_in_its_turn(store: Store) -> None:
    epic = a_ticket(1, S.RUNNING, type=TicketType.EPIC)
    children = [a_ticket(2, S.COMPLETED, parent_id="tk_1"), a_ticket(3, S.IN_REVIEW, parent_id="tk_1")]
    await add(store, epic, *children, a_ticket(4, S.BLOCKED, depends_on=("tk_1",)))
    moved = await move(store, "tk_3", Action.MERGE)
    assert moved == [("tk_3", S.COMPLETED), ("tk_1", S.COMPLETED), ("tk_4", S.READY)]


async def test_what_follows_is_stored_with_its_events_and_effects(store: Store) -> None:
    await add(store, a_ticket(1, S.RUNNING, fence=1, attempt_id="at_1"), a_ticket(2, S.BLOCKED, depends_on=("tk_1",)))
    await move(store, "tk_1", Action.FINISH, head="a" * 40)
    listed = await store.read(lambda reader: reader.events("tickets", 0, 10))
    assert [(event.data["key"], event.data["to"]) for event in listed] == [
        ("TKT-001", "in_review"),
        ("TKT-002", "ready"),
    ]
    assert [one.key for one in await store.read(lambda reader: reader.due_effects(NOW, 10))] == ["pr:tk_1:1"]


async def test_a_step_from_a_state_that_is_over_stores_nothing_at_all(store: Store) -> None:
    await add(store, a_ticket(1, S.READY), a_ticket(2, S.READY))
    stale = advance(replace(a_ticket(1, S.RUNNING), fence=0), Action.FINISH, NOW, head="a" * 40)
    good = advance(a_ticket(2, S.READY), Action.CANCEL, NOW)
    with pytest.raises(Conflict, match="TKT-001 changed meanwhile"):
        await store.write(lambda tx: commit_steps(tx, [good, stale], NOW))
    assert await states(store, ["tk_1", "tk_2"]) == [S.READY, S.READY]
    assert await store.read(lambda reader: reader.events("tickets", 0, 10)) == []


async def test_blocked_by_names_keys_in_the_order_of_the_ticket(store: Store) -> None:
    await add(store, a_ticket(1, S.RUNNING), a_ticket(2, S.COMPLETED), a_ticket(3, S.FAILED))
    found = await store.read(lambda reader: blocked_by(reader, ["tk_3", "tk_2", "tk_1"]))
    assert found == ("TKT-003", "TKT-001")
