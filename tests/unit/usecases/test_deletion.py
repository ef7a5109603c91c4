from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from controlplane.domain.bulk import BulkAction, Wish
from controlplane.domain.call import Call
from controlplane.domain.pullrequest import PullRequestState
from controlplane.domain.ticket import Ticket, TicketState, TicketType
from controlplane.errors import FailedPrecondition, InvalidInput, NotFound
from controlplane.ports import Store, Tx
from controlplane.usecases import bulk, deletion
from tests.fakes.seeds import TENANT, a_call, a_project, a_pull_request, a_ticket

S = TicketState
DELETE = Wish(BulkAction.DELETE)


async def add(store: Store, *tickets: Ticket) -> None:
    await store.write(lambda tx: tx.add_tickets(tickets))


async def left(store: Store, *numbers: int) -> list[int]:
    found = await store.read(lambda reader: reader.tickets_by_id([f"tk_{number}" for number in numbers]))
    return sorted(int(ticket.key[4:]) for ticket in found)


@pytest.mark.parametrize("state", S)
async def test_what_may_still_run_is_not_deleted(store: Store, call: Call, state: S) -> None:
    await add(store, a_ticket(1, state))
    if state in {S.PENDING, S.COMPLETED, S.FAILED, S.CANCELLED}:
        await store.write(lambda tx: deletion.delete_ticket(tx, call, "TKT-001"))
        assert await left(store, 1) == []
        return
    with pytest.raises(FailedPrecondition, match="cancel it first") as refused:
        await store.write(lambda tx: deletion.delete_ticket(tx, call, "TKT-001"))
    assert refused.value.reason == "ticket_active"


async def test_nobody_deletes_what_is_anothers(store: Store) -> None:
    await add(store, a_ticket(1, S.PENDING))
    with pytest.raises(NotFound):
        await store.write(lambda tx: deletion.delete_ticket(tx, a_call(tenant="other"), "tk_1"))
    assert await left(store, 1) == [1]


async def test_children_dependents_and_open_pull_requests_stand_against_it(store: Store, call: Call) -> None:
    await add(
        store,
        a_ticket(1, S.PENDING, type=TicketType.EPIC),
        a_ticket(2, S.PENDING, parent_id="tk_1"),
        a_ticket(3, S.PENDING, depends_on=("tk_2",)),
    )
    done = a_ticket(4, S.COMPLETED, pull_request_id="pr_4")
    await add(store, done)
    await store.write(lambda tx: tx.add_pull_request(a_pull_request(done, 4, state=PullRequestState.OPEN)))
    for number, reason in ((1, "has_children"), (2, "has_dependents"), (4, "pull_request_open")):
        with pytest.raises(FailedPrecondition) as refused:
            await store.write(lambda tx, number=number: deletion.delete_ticket(tx, call, f"tk_{number}"))  # type: ignore[misc]
        assert refused.value.reason == reason
    assert await left(store, 1, 2, 3, 4) == [1, 2, 3, 4]


async def test_what_needs_each_other_goes_together(store: Store, call: Call) -> None:
    await add(
        store,
        a_ticket(1, S.PENDING, type=TicketType.EPIC),
        a_ticket(2, S.PENDING, parent_id="tk_1"),
        a_ticket(3, S.PENDING, parent_id="tk_1", depends_on=("tk_2",)),
    )
    done = await store.write(
        lambda tx: bulk.bulk_update(tx, call, ["TKT-001", "tk_2", "TKT-003"], DELETE, all_or_nothing=True)
    )
    assert [(one.ident, one.ticket, one.error) for one in done] == [
        ("TKT-001", None, None),
        ("tk_2", None, None),
        ("TKT-003", None, None),
    ]
    assert await left(store, 1, 2, 3) == []


async def test_what_stays_keeps_what_it_needs(store: Store, call: Call) -> None:
    await add(store, a_ticket(1, S.COMPLETED), a_ticket(2, S.READY, depends_on=("tk_1",)), a_ticket(3, S.FAILED))
    done = await store.write(
        lambda tx: bulk.bulk_update(tx, call, ["tk_1", "tk_2", "tk_3", "tk_9"], DELETE, all_or_nothing=False)
    )
    assert [one.error.reason if one.error else "" for one in done] == [
        "has_dependents",
        "ticket_active",
        "",
        "not_found",
    ]
    assert await left(store, 1, 2, 3) == [1, 2]


async def test_an_epic_follows_the_children_that_are_left(store: Store, call: Call) -> None:
    await add(
        store,
        a_ticket(1, S.FAILED, type=TicketType.EPIC),
        a_ticket(2, S.COMPLETED, parent_id="tk_1"),
        a_ticket(3, S.FAILED, parent_id="tk_1"),
    )
    await store.write(lambda tx: deletion.delete_ticket(tx, call, "tk_3"))
    epic = await store.read(lambda reader: reader.ticket(TENANT, "tk_1"))
    assert epic is not None
    assert epic.state is S.COMPLETED


async def test_its_branches_are_left_to_the_outbox_and_its_end_is_told(store: Store, call: Call) -> None:
    await store.write(lambda tx: tx.add_project(a_project()))
    await add(store, a_ticket(1, S.FAILED, fence=2, project_id="pj_1", head="a" * 40))
    await store.write(lambda tx: deletion.delete_ticket(tx, call, "tk_1"))
    (effect,) = await store.read(lambda reader: reader.due_effects(call.now + 1, 9))
    assert effect.payload["deleted"] == {"key": "TKT-001", "head": "a" * 40, "project_id": "pj_1"}
    (event,) = await store.read(lambda reader: reader.events("tickets", 0, 9))
    assert (event.type, event.data["key"], event.data["by"]) == ("ticket.deleted", "TKT-001", "alice")
    assert await store.read(lambda reader: reader.events("ticket:tk_1", 0, 9)) == []


@pytest.mark.parametrize(
    ("wish", "field", "value"),
    [
        (Wish(BulkAction.ASSIGN, assignee="bob"), "assignee", "bob"),
        (Wish(BulkAction.PRIORITIZE, priority=0), "priority", 0),
        (Wish(BulkAction.TAG, add_tags=("new", "b"), remove_tags=("a",)), "tags", ("b", "new")),
    ],
)
async def test_many_are_changed_at_once(store: Store, call: Call, wish: Wish, field: str, value: object) -> None:
    await add(store, a_ticket(1, tags=("a", "b")), a_ticket(2, S.COMPLETED), a_ticket(3, tags=("b",)))
    done = await store.write(lambda tx: bulk.bulk_update(tx, call, idents(1, 2, 3), wish, all_or_nothing=False))
    assert [one.error.reason if one.error else "" for one in done] == ["", "ticket_ended", ""]
    assert [getattr(one.ticket.spec, field) for one in done if one.ticket] == [value, value]


async def test_all_or_nothing_names_all_that_stood_against_it(store: Store, call: Call) -> None:
    await add(store, a_ticket(1), a_ticket(2, S.COMPLETED), a_ticket(3, S.FAILED))
    wish = Wish(BulkAction.CANCEL, reason="enough")
    with pytest.raises(FailedPrecondition, match="2 of 3") as refused:
        await store.write(lambda tx: bulk.bulk_update(tx, call, idents(1, 2, 3), wish, all_or_nothing=True))
    assert [each.field for each in refused.value.violations] == ["/ids/1", "/ids/2"]
    kept = await store.read(lambda reader: reader.ticket(TENANT, "tk_1"))
    assert kept is not None
    assert kept.state is S.READY


async def test_states_are_changed_as_one_by_one(store: Store, call: Call) -> None:
    await add(store, a_ticket(1, S.PENDING), a_ticket(2, S.PENDING))
    for action, state in ((BulkAction.RELEASE, S.READY), (BulkAction.CANCEL, S.CANCELLED), (BulkAction.RETRY, S.READY)):
        done = await store.write(partial(both, call=call, wish=Wish(action)))
        assert [one.ticket.state for one in done if one.ticket] == [state, state]


def both(tx: Tx, *, call: Call, wish: Wish) -> list[bulk.Outcome]:
    return bulk.bulk_update(tx, call, idents(1, 2), wish, all_or_nothing=True)


async def test_a_wish_for_no_tag_is_refused(store: Store, call: Call) -> None:
    with pytest.raises(InvalidInput, match="names no tag"):
        await store.write(lambda tx: bulk.bulk_update(tx, call, idents(1), Wish(BulkAction.TAG), all_or_nothing=False))


def idents(*numbers: int) -> Sequence[str]:
    return [f"tk_{number}" for number in numbers]
