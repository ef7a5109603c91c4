from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.domain.host import Capacity, HostState
from controlplane.domain.lease import LeaseTimes
from controlplane.domain.retry import RetryTimes
from controlplane.domain.ticket import AttemptState, Ticket, TicketState
from controlplane.domain.transitions import Action, advance
from controlplane.events.bus import LocalBus
from controlplane.ports import Store, Tx
from controlplane.scheduler.applier import apply
from controlplane.scheduler.loop import Scheduler
from controlplane.scheduler.plan import Placement
from controlplane.stores.sqlite import SqliteStore
from controlplane.usecases.moves import commit_steps
from controlplane.usecases.placement import lose_all
from tests.fakes.fleet import FakeFleet
from tests.fakes.seeds import NOW, a_host, a_project, a_ticket, an_agent

S = TicketState


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """The store as it is used: a file, a writer thread, a clock that runs."""
    made = SqliteStore(tmp_path / "swarm.db", LocalBus())
    await made.open()
    await made.write(lambda tx: tx.add_agent(an_agent("echo"), b""))
    await made.write(lambda tx: tx.save_host(a_host(1, capacity=Capacity(vms=2))))
    yield made
    await made.close()


@pytest.fixture
def bus(store: SqliteStore) -> LocalBus:
    bus = store._bus
    assert isinstance(bus, LocalBus)
    return bus


@pytest.fixture
def fleet() -> FakeFleet:
    return FakeFleet({"hs_1"})


@pytest.fixture
async def scheduler(store: Store, bus: LocalBus, fleet: FakeFleet) -> AsyncIterator[Scheduler]:
    """Without a sweep to help it: what happens is set off by events."""
    made = Scheduler(store, bus, fleet, sweep_s=3600)
    await made.start()
    yield made
    await made.stop()


async def file(store: Store, *tickets: Ticket) -> None:
    """Stores tickets as held and releases them, as callers do."""

    def work(tx: Tx) -> None:
        held = [replace(ticket, state=S.PENDING) for ticket in tickets]
        tx.add_tickets(held)
        commit_steps(tx, [advance(one, Action.RELEASE, NOW) for one in held], NOW)

    await store.write(work)


async def states(store: Store, *numbers: int) -> list[TicketState]:
    idents = [f"tk_{number}" for number in numbers]
    found = {one.id: one.state for one in await store.read(lambda reader: reader.tickets_by_id(idents))}
    return [found[ident] for ident in idents]


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.002)


async def test_a_released_ticket_is_leased_and_handed_over(
    store: Store, scheduler: Scheduler, fleet: FakeFleet
) -> None:
    await file(store, a_ticket(1))
    await eventually(lambda: given(fleet, "tk_1"))
    (ticket,) = await store.read(lambda reader: reader.tickets_by_id(["tk_1"]))
    (attempt,) = await store.read(lambda reader: reader.attempts("tk_1"))
    assert (ticket.state, ticket.fence, ticket.host_id) == (S.ASSIGNED, 1, "hs_1")
    assert (attempt.id, attempt.number, attempt.fence) == (ticket.attempt_id, 1, 1)
    assert (attempt.state, attempt.branch) == (AttemptState.ASSIGNED, "swarm/TKT-001/a1")
    assert ticket.lease_expires_at is not None
    assert ticket.lease_expires_at == pytest.approx(attempt.assigned_at + 45)


async def given(fleet: FakeFleet, *idents: str) -> bool:
    return {call[1] for call in fleet.calls if call[0] == "assign"} >= set(idents)


async def test_a_place_that_becomes_free_is_taken(store: Store, scheduler: Scheduler, fleet: FakeFleet) -> None:
    await file(store, a_ticket(1), a_ticket(2), a_ticket(3, created_at=NOW + 1))
    await eventually(lambda: given(fleet, "tk_1", "tk_2"))
    await eventually(lambda: is_status(scheduler, {"TKT-003": "waits for a free place"}))
    (first,) = await store.read(lambda reader: reader.tickets_by_id(["tk_1"]))
    await store.write(lambda tx: commit_steps(tx, [advance(first, Action.FINISH, NOW, head="")], NOW))
    await eventually(lambda: given(fleet, "tk_3"))
    await eventually(lambda: counts(scheduler, waiting=0, running=2))
    assert scheduler.status().unplaceable == {}


async def counts(scheduler: Scheduler, *, waiting: int, running: int) -> bool:
    status = scheduler.status()
    return (status.queue_depth, status.running) == (waiting, running)


async def is_status(scheduler: Scheduler, unplaceable: dict[str, str]) -> bool:
    return scheduler.status().unplaceable == unplaceable


async def test_a_host_that_attaches_gets_work(store: Store, scheduler: Scheduler, fleet: FakeFleet) -> None:
    fleet.hosts.clear()
    await file(store, a_ticket(1))
    await eventually(lambda: is_status(scheduler, {"TKT-001": "none of 1 hosts takes work now"}))
    fleet.hosts.add("hs_1")
    await store.write(lambda tx: tx.set_host_state("hs_1", HostState.ONLINE))
    await eventually(lambda: given(fleet, "tk_1"))


async def test_a_retry_delay_is_slept_through_exactly(store: Store, scheduler: Scheduler, fleet: FakeFleet) -> None:
    await file(store, a_ticket(1))
    await eventually(lambda: given(fleet, "tk_1"))
    (ticket,) = await store.read(lambda reader: reader.tickets_by_id(["tk_1"]))
    fleet.calls.clear()
    step = advance(ticket, Action.FAIL, store.now() - 0.95, cause="agent_crashed")
    await store.write(lambda tx: commit_steps(tx, [step], store.now()))
    await eventually(lambda: given(fleet, "tk_1"))
    assert await states(store, 1) == [S.ASSIGNED]


async def test_a_stopped_coordinator_places_nothing(store: Store, scheduler: Scheduler, fleet: FakeFleet) -> None:
    await store.write(lambda tx: tx.set_setting("coordinator", {"running": False, "max_vms": 0}))
    await file(store, a_ticket(1))
    await eventually(lambda: has_depth(scheduler, 1))
    assert await states(store, 1) == [S.READY]
    await store.write(lambda tx: tx.set_setting("coordinator", {"running": True, "max_vms": 0}))
    await eventually(lambda: given(fleet, "tk_1"))


async def has_depth(scheduler: Scheduler, depth: int) -> bool:
    return scheduler.status().queue_depth == depth


async def test_a_ticket_whose_agent_is_not_registered_waits_for_it(
    store: Store, scheduler: Scheduler, fleet: FakeFleet
) -> None:
    await file(store, a_ticket(1, agent="painter"))
    await eventually(lambda: is_status(scheduler, {"TKT-001": "there is no agent painter"}))
    await store.write(lambda tx: tx.add_agent(an_agent("painter"), b""))
    await eventually(lambda: given(fleet, "tk_1"))


async def test_a_start_takes_up_what_waits_already(store: Store, bus: LocalBus, fleet: FakeFleet) -> None:
    await file(store, a_ticket(1), a_ticket(2), a_ticket(3, created_at=NOW + 1))
    scheduler = Scheduler(store, bus, fleet, sweep_s=3600)
    assert await scheduler.turn() == 2
    assert await Scheduler(store, bus, fleet).turn() == 0
    assert await states(store, 1, 2, 3) == [S.ASSIGNED, S.ASSIGNED, S.READY]


async def test_a_change_of_a_projects_limit_is_heard(store: Store, bus: LocalBus, fleet: FakeFleet) -> None:
    await store.write(lambda tx: tx.add_project(a_project(1, max_concurrency=1)))
    scheduler = Scheduler(store, bus, fleet, sweep_s=3600)
    await scheduler.start()
    await file(store, a_ticket(1, project_id="pj_1"), a_ticket(2, project_id="pj_1"))
    await eventually(lambda: is_status(scheduler, {"TKT-002": "its project is at its limit of 1 at once"}))
    await store.write(lambda tx: tx.save_project(a_project(1, max_concurrency=2)))
    await eventually(lambda: given(fleet, "tk_1", "tk_2"))
    await scheduler.stop()


async def test_more_changes_than_one_page_are_all_seen(
    store: Store, bus: LocalBus, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.scheduler.feed._CHUNK", 2)
    scheduler = Scheduler(store, bus, fleet)
    await scheduler.turn()
    await file(store, *(a_ticket(number) for number in range(7)))
    assert await scheduler.turn() == 2
    assert scheduler.status().queue_depth == 5


async def test_the_applier_trusts_no_plan(store: Store) -> None:
    gone, late = a_ticket(4, S.CANCELLED), a_ticket(5, not_before=NOW + 9)
    await store.write(lambda tx: tx.add_tickets([a_ticket(1), a_ticket(2), a_ticket(3), gone, late, a_ticket(6)]))
    await store.write(lambda tx: tx.save_host(a_host(2, state=HostState.CORDONED)))
    plan = [Placement(f"tk_{number}", "hs_1") for number in (4, 5, 7, 1, 2, 3)] + [Placement("tk_6", "hs_2")]
    applied = await store.write(lambda tx: apply(tx, plan, NOW))
    assert [one.ticket.id for one in applied.assignments] == ["tk_1", "tk_2"]
    assert applied.rejected == {
        "tk_4": "changed meanwhile",
        "tk_5": "changed meanwhile",
        "tk_7": "changed meanwhile",
        "tk_3": "its host is full",
        "tk_6": "its host takes no more work",
    }
    again = await store.write(lambda tx: apply(tx, plan, NOW))
    assert again.assignments == ()


async def test_an_assignment_carries_the_heads_that_were_accepted(store: Store) -> None:
    done = [a_ticket(number, S.IN_REVIEW, head=f"{number}" * 40, fence=number) for number in (1, 2)]
    nothing = a_ticket(3, S.COMPLETED)
    ticket = a_ticket(4, depends_on=("tk_2", "tk_3", "tk_1"))
    await store.write(lambda tx: tx.add_tickets([*done, nothing, ticket]))
    applied = await store.write(lambda tx: apply(tx, [Placement("tk_4", "hs_1")], NOW))
    assert applied.assignments[0].dependencies == (
        ("TKT-002", "refs/heads/swarm/TKT-002/a2", "2" * 40),
        ("TKT-001", "refs/heads/swarm/TKT-001/a1", "1" * 40),
    )


async def test_a_ticket_that_a_host_failed_goes_elsewhere_also_after_a_restart(
    store: Store, bus: LocalBus, fleet: FakeFleet
) -> None:
    """A host with less room is preferred to the one that lost its VM, by what the store knows."""
    await store.write(lambda tx: tx.save_host(a_host(2, capacity=Capacity(vms=2))))
    fleet.hosts |= {"hs_2"}
    await store.write(lambda tx: tx.add_tickets([a_ticket(1), a_ticket(2)]))
    await store.write(lambda tx: apply(tx, [Placement("tk_1", "hs_1"), Placement("tk_2", "hs_2")], store.now()))
    times = LeaseTimes(retry=RetryTimes((0.0,)))
    (ticket,) = await store.read(lambda reader: reader.tickets_by_id(["tk_1"]))
    await store.write(lambda tx: lose_all(tx, [ticket], store.now(), cause="vm_lost", reason="", times=times))
    scheduler = Scheduler(store, bus, fleet, sweep_s=3600)
    await scheduler._load()
    assert await scheduler.turn() == 1
    (again,) = await store.read(lambda reader: reader.tickets_by_id(["tk_1"]))
    assert again.host_id == "hs_2"


async def test_a_host_whose_wake_up_got_lost_is_found_though_the_bus_is_never_quiet(
    store: Store, fleet: FakeFleet
) -> None:
    heard = LocalBus()  # not the one that the store tells
    scheduler = Scheduler(store, heard, fleet, sweep_s=0.05)
    await scheduler.start()
    fleet.hosts |= {"hs_2"}
    await store.write(lambda tx: tx.save_host(a_host(2, capacity=Capacity(vms=2))))

    async def known() -> bool:
        heard.notify(("settings",))
        return "hs_2" in scheduler._feed.snapshot.hosts

    await eventually(known)
    await scheduler.stop()
