from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.call import Call
from controlplane.domain.ticket import Ticket, TicketSpec, TicketState, TicketType
from controlplane.errors import InvalidInput
from controlplane.ports import Store
from controlplane.usecases import tickets
from tests.fakes.seeds import TENANT, a_call, a_project

S = TicketState


def spec(title: str = "Do it", **fields: Any) -> TicketSpec:
    return TicketSpec(title=title, **fields)


async def file(store: Store, call: Call, *specs: TicketSpec, hold: bool = False) -> list[Ticket]:
    return await store.write(lambda tx: tickets.create_tickets(tx, call, specs, hold=hold))


async def faults(store: Store, call: Call, *specs: TicketSpec) -> dict[str, str]:
    """What is wrong, by JSON pointer; and nothing was stored."""
    before = await store.read(lambda reader: reader.live_tickets())
    with pytest.raises(InvalidInput) as error:
        await file(store, call, *specs)
    assert await store.read(lambda reader: reader.live_tickets()) == before
    return {one.field: one.description for one in error.value.violations}


async def test_tickets_are_released_as_their_dependencies_allow(store: Store, call: Call) -> None:
    base, top = await file(store, call, spec(ref="base"), spec(ref="top", depends_on=("base", "base")))
    assert (base.key, base.state, top.key, top.state) == ("TKT-001", S.READY, "TKT-002", S.BLOCKED)
    assert top.spec.depends_on == (base.id,)
    assert base.spec.agent == "echo"
    assert base.key in top.state_reason


async def test_held_tickets_wait_for_their_release(store: Store, call: Call) -> None:
    (held,) = await file(store, call, spec(), hold=True)
    assert held.state is S.PENDING
    released = await store.write(lambda tx: tickets.release_ticket(tx, call, held.key))
    assert released.state is S.READY


async def test_dependencies_by_id_key_and_ref(store: Store, call: Call) -> None:
    first, second = await file(store, call, spec(), spec())
    (third, _) = await file(store, call, spec(depends_on=(first.id, second.key, "new")), spec(ref="new"))
    assert third.spec.depends_on[:2] == (first.id, second.id)


async def test_creation_is_told_on_both_topics(store: Store, call: Call) -> None:
    (ticket,) = await file(store, call, spec("Paint it"))
    own = await store.read(lambda reader: reader.events(f"ticket:{ticket.id}", 0, 9))
    listed = await store.read(lambda reader: reader.events("tickets", 0, 9))
    assert [one.type for one in own] == [one.type for one in listed] == ["ticket.created", "ticket.state"]
    assert own[0].data["title"] == "Paint it"
    assert {one.data["ticket_id"] for one in listed} == {ticket.id}


async def test_every_fault_has_its_pointer(store: Store, call: Call) -> None:
    found = await faults(
        store,
        call,
        spec(ref="a", depends_on=("b",)),
        spec(ref="b", depends_on=("a", "TKT-404")),
        spec(ref="a", project_id="pj_404"),
        spec(agent="nobody"),
        spec(agent="shell", input={"script": 7}),
        spec(parent_id="b"),
        spec(ref="self", depends_on=("self",)),
        spec(type=TicketType.EPIC, depends_on=("b",)),
    )
    assert set(found) >= {
        "/specs/1/depends_on/1",
        "/specs/2/ref",
        "/specs/2/project_id",
        "/specs/3/agent",
        "/specs/4/input/script",
        "/specs/5/parent_id",
        "/specs/6/depends_on/0",
        "/specs/7/depends_on",
    }
    assert "TKT-404" in found["/specs/1/depends_on/1"]


async def test_a_cycle_is_named_by_its_path(store: Store, call: Call) -> None:
    specs = [spec(ref=ref, depends_on=(on,)) for ref, on in (("a", "b"), ("b", "c"), ("c", "a"))]
    found = await faults(store, call, *specs)
    assert list(found.values()) == ["cycle: a -> b -> c -> a"]


async def test_a_child_cannot_wait_for_its_epic(store: Store, call: Call) -> None:
    found = await faults(store, call, spec(type=TicketType.EPIC, ref="e"), spec(parent_id="e", depends_on=("e",)))
    assert "/specs/1/depends_on" in found


async def test_tickets_of_another_tenant_do_not_exist(store: Store, call: Call) -> None:
    (theirs,) = await file(store, a_call(tenant="another"), spec())
    found = await faults(store, call, spec(depends_on=(theirs.id,)))
    assert "does not exist" in found["/specs/0/depends_on/0"]


async def test_the_project_names_the_agent_where_the_ticket_does_not(store: Store, call: Call) -> None:
    await store.write(lambda tx: tx.add_project(a_project(agent="shell")))
    found = await faults(store, call, spec(project_id="pj_1"))
    assert found == {"/specs/0/input": "'script' is a required property"}
    (ticket,) = await file(store, call, spec(project_id="pj_1", input={"script": "true"}))
    assert ticket.spec.agent == "shell"


async def test_an_epic_follows_its_children(store: Store, call: Call) -> None:
    epic, *_ = await file(store, call, spec(type=TicketType.EPIC, ref="e"), spec(parent_id="e"), spec(parent_id="e"))
    assert epic.state is S.READY
    assert epic.spec.agent == ""
    children = await store.read(lambda reader: reader.children(epic.id))
    assert len(children) == 2
    assert await store.read(lambda reader: reader.ticket(TENANT, "TKT-001")) == epic
