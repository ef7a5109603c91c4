"""What the control plane forgets, when, and what it never forgets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.cleanup import DAY_S, PERIODIC, CleanupReport, CleanupRun, Retention
from controlplane.domain.event import Effect, NewEvent
from controlplane.domain.project import Project
from controlplane.domain.ticket import Ticket, TicketState
from controlplane.domain.vm import VmState
from controlplane.errors import Unavailable
from controlplane.events.bus import LocalBus
from controlplane.ports import CommandUpdate, Page, Store, Tx
from controlplane.reconcile import cleanup as module
from controlplane.reconcile.cleanup import Cleanup
from controlplane.reconcile.outbox import Outbox
from tests.fakes.fleet import FakeFleet, FakeForge
from tests.fakes.seeds import NOW, a_ticket, a_vm

S = TicketState
DONE = CommandUpdate(1.0, "", done=True)


async def three() -> int:
    return 3


@pytest.fixture
def cleanup(store: Store, fleet: FakeFleet) -> Cleanup:
    return Cleanup(store, fleet, three, retention=Retention(days=30, branch_days=10))


def ended(number: int, days_ago: float, state: TicketState = S.COMPLETED, **fields: Any) -> Ticket:
    plain = {"fence": 2, "attempts": 2, "project_id": "pj_1", "head": "a" * 40}
    return a_ticket(number, state, finished_at=NOW - days_ago * DAY_S, **{**plain, **fields})


async def file(store: Store, *tickets: Ticket) -> None:
    def work(tx: Tx) -> None:
        tx.add_tickets(tickets)
        for ticket in tickets:
            tx.add_events([NewEvent(f"ticket:{ticket.id}", "agent.log", {"text": str(n)}) for n in range(3)], NOW)

    await store.write(work)


async def events(store: Store, topic: str) -> list[int]:
    return [event.seq for event in await store.read(lambda reader: reader.events(topic, 0, 100))]


async def effects(store: Store) -> list[str]:
    return [effect.key for effect in await store.read(lambda reader: reader.due_effects(NOW, 100))]


async def test_events_of_tickets_go_when_their_time_is_over(store: Store, cleanup: Cleanup) -> None:
    running = a_ticket(3, S.RUNNING, created_at=0.0, updated_at=0.0)
    await file(store, ended(1, 31), ended(2, 29), running)
    report = await cleanup.turn()
    assert (report.rows, report.assignments) == (3, 3)
    assert [await events(store, f"ticket:tk_{n}") for n in (1, 2, 3)] == [[], [1, 2, 3], [1, 2, 3]]
    await store.write(lambda tx: tx.add_events([NewEvent("ticket:tk_1", "ticket.updated")], NOW))
    assert await events(store, "ticket:tk_1") == [4]  # numbers are never given out twice
    assert (await cleanup.turn()).rows == 0


async def test_many_tickets_that_finished_at_one_moment_are_all_gone_through(
    store: Store, cleanup: Cleanup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICKETS", 2)
    await file(store, *(ended(number, 40) for number in range(1, 8)))
    assert (await cleanup.turn()).rows == 21


async def test_shared_topics_lose_their_oldest_events_only(store: Store, cleanup: Cleanup, clock: Any) -> None:
    for days in (40, 35, 31, 5):
        await store.write(lambda tx, at=NOW - days * DAY_S: tx.add_events([NewEvent("tickets", "x")], at))  # type: ignore[misc]
    assert (await cleanup.turn()).rows == 3
    assert await events(store, "tickets") == [4]


async def test_branches_are_left_to_the_outbox_once(
    store: Store, cleanup: Cleanup, bus: LocalBus, fleet: FakeFleet, forge: FakeForge
) -> None:
    never_placed, without_project = ended(3, 11, S.CANCELLED, fence=0), ended(4, 11, project_id="")
    await file(store, ended(1, 11), ended(2, 9), never_placed, without_project)
    assert (await cleanup.turn()).branches == 1
    assert (await cleanup.turn()).branches == 0
    outbox = Outbox(store, bus, forge, fleet)
    assert await outbox.turn() == 1
    assert forge.calls == [("remove_attempts", "TKT-001", "a" * 40)]
    (told,) = await store.read(lambda reader: reader.events("ticket:tk_1", 3, 9))
    assert (told.type, told.data) == ("branches.removed", {"refs": ["refs/heads/swarm/TKT-001/a1"]})
    assert await outbox.turn() == 0


@pytest.mark.parametrize("since", [(S.READY, 2), (S.COMPLETED, 3)])
async def test_a_ticket_that_was_taken_up_again_keeps_its_branches(
    store: Store, cleanup: Cleanup, bus: LocalBus, forge: FakeForge, since: tuple[TicketState, int]
) -> None:
    failed = ended(1, 11, S.FAILED)
    await file(store, failed)
    await cleanup.turn()
    again = replace(failed, state=since[0], fence=since[1], finished_at=None)
    await store.write(lambda tx: tx.save_tickets([(failed, again)]))
    await Outbox(store, bus, forge, FakeFleet()).turn()
    assert (forge.calls, await effects(store)) == ([], [])


class GoneForge(FakeForge):
    async def remove_attempts(self, project: Project, ticket_key: str, head: str) -> tuple[str, ...]:
        raise Unavailable("no such repository")


async def test_an_upstream_that_is_gone_is_given_up_some_day(
    store: Store, cleanup: Cleanup, bus: LocalBus, fleet: FakeFleet, clock: Any
) -> None:
    await file(store, ended(1, 11))
    await cleanup.turn()
    outbox = Outbox(store, bus, GoneForge(), fleet)
    for _ in range(10):
        assert await outbox.turn() == 1
        clock.now += 100
    assert await outbox.turn() == 0


async def test_old_rows_go_and_the_audit_stays(store: Store, cleanup: Cleanup) -> None:
    old, young = NOW - 31 * DAY_S, NOW - 29 * DAY_S

    def work(tx: Tx) -> None:
        tx.save_vms([a_vm(n, state=VmState.STOPPED, stopped_at=at) for n, at in enumerate((old, young), 1)])
        tx.save_vms([a_vm(3, created_at=old)])
        for key, done in (("one", old), ("two", young), ("three", None)):
            tx.add_effects([Effect(key, "revoke", {})], old)
            if done:
                tx.effect_done(key, done)
        tx.remember("alice", "key", "hash", b"", old)
        tx.add_audit("vm.boot", "alice", "rq_1", {}, old)

    await store.write(work)
    assert (await cleanup.turn()).rows == 3
    left, _ = await store.read(lambda reader: reader.vms("", include_stopped=True, page=Page()))
    assert [vm.id for vm in left] == ["vm_2", "vm_3"]
    assert await effects(store) == ["three"]
    assert await store.read(lambda reader: reader.replay("alice", "key")) is None
    assert len(await store.read(lambda reader: reader.audit(0, 9))) == 1


async def test_without_a_retention_everything_stays(store: Store, fleet: FakeFleet) -> None:
    await file(store, ended(1, 10_000))
    cleanup = Cleanup(store, fleet, three, retention=Retention(0, 0))
    report = await cleanup.turn()
    assert (report.rows, report.branches) == (0, 0)


async def test_a_run_over_all_hosts_names_those_that_fail(store: Store, cleanup: Cleanup, fleet: FakeFleet) -> None:
    fleet.hosts = {"hs_1", "hs_2"}
    fleet.answers["cleanup"] = [replace(DONE, cleanup=CleanupReport(vms=1, files=2, details=("gone: x",)))]
    report = await cleanup.everything("alice")
    assert (report.vms, report.files, report.assignments, report.details) == (2, 4, 3, ("gone: x", "gone: x"))
    fleet.answers["cleanup"] = Unavailable("away")
    assert (await cleanup.everything("alice")).details == ("hs_1: away", "hs_2: away")
    runs = await store.read(lambda reader: reader.cleanup_runs(None, 1))
    assert {(run.host_id, run.by, run.error) for run in runs} == {
        ("", "alice", ""),
        ("hs_1", "alice", "away"),
        ("hs_2", "alice", "away"),
    }


async def test_one_part_that_fails_keeps_no_other_from_its_work(store: Store, fleet: FakeFleet) -> None:
    async def broken() -> int:
        raise Unavailable("no leases now")

    await file(store, ended(1, 31))
    report = await Cleanup(store, fleet, broken, retention=Retention()).turn()
    assert (report.rows, report.branches, report.details) == (3, 1, ("control plane: no leases now",))


async def test_the_last_runs_of_each_host_are_kept(store: Store) -> None:
    for number in range(15):
        for host in ("", "hs_1"):
            run = CleanupRun(host, PERIODIC, NOW + number, NOW + number, CleanupReport(files=number))
            await store.write(lambda tx, run=run: tx.add_cleanup_run(run))  # type: ignore[misc]
    last = await store.read(lambda reader: reader.cleanup_runs(None, 2))
    assert [(run.report.files, run.host_id) for run in last] == [(14, "hs_1"), (14, ""), (13, "hs_1"), (13, "")]
    assert len(await store.read(lambda reader: reader.cleanup_runs("hs_1", 100))) == 10
