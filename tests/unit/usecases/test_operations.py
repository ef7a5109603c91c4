"""Hosts, VMs and the coordinator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.call import Call
from controlplane.domain.host import Capacity, Host, HostState
from controlplane.domain.ticket import AttemptState, TicketState
from controlplane.domain.vm import VmHealth, VmSample, VmState
from controlplane.errors import FailedPrecondition, NotFound, Unavailable
from controlplane.ports import CommandUpdate, Page, Store
from controlplane.reconcile.leases import LeaseKeeper
from controlplane.usecases import coordinator, hosts, vms
from controlplane.usecases.services import Services
from tests.fakes.fleet import FakeFleet
from tests.fakes.seeds import NOW, a_host, a_ticket, a_vm, an_attempt

DONE = CommandUpdate(1.0, "", done=True)


async def save(store: Store, host: Host) -> None:
    await store.write(lambda tx: tx.save_host(host))


async def attach(store: Store, fleet: FakeFleet, *found: Host) -> None:
    for host in found:
        await save(store, host)
        fleet.hosts.add(host.id)


async def test_a_cordoned_host_is_told_and_comes_back(
    store: Store, services: Services, fleet: FakeFleet, call: Call
) -> None:
    await attach(store, fleet, a_host())
    assert (await hosts.cordon(services, call, "host-1")).state is HostState.CORDONED
    assert (await hosts.uncordon(services, call, "hs_1")).state is HostState.ONLINE
    assert fleet.calls == [("cordon", "hs_1", True), ("cordon", "hs_1", False)]


async def test_a_host_that_is_away_is_cordoned_too(
    store: Store, services: Services, fleet: FakeFleet, call: Call
) -> None:
    await store.write(lambda tx: tx.save_host(a_host(state=HostState.OFFLINE)))
    assert (await hosts.cordon(services, call, "hs_1")).state is HostState.CORDONED
    assert (await hosts.uncordon(services, call, "hs_1")).state is HostState.OFFLINE
    with pytest.raises(NotFound):
        await hosts.cordon(services, call, "nowhere")


async def test_a_drain_places_what_still_runs_elsewhere_at_its_deadline(
    store: Store, services: Services, fleet: FakeFleet, call: Call
) -> None:
    await attach(store, fleet, a_host(1), a_host(2))
    running = [
        replace(a_ticket(n, TicketState.RUNNING), fence=1, attempts=1, host_id=f"hs_{n}", attempt_id=f"at_tk_{n}_1")
        for n in (1, 2)
    ]
    await store.write(lambda tx: tx.add_tickets(running))
    await store.write(lambda tx: tx.add_attempts([an_attempt(one) for one in running]))
    assert (await hosts.drain(services, call, "hs_1", 30.0)).state is HostState.DRAINING
    assert await store.read(hosts.next_drain_deadline) == NOW + 30
    assert await store.write(lambda tx: hosts.end_overdue_drains(tx, NOW + 29)) == 0
    assert await store.write(lambda tx: hosts.end_overdue_drains(tx, NOW + 30)) == 1
    first, second = await store.read(lambda reader: reader.tickets_by_id(["tk_1", "tk_2"]))
    assert (first.state, first.causes, second.state) == (TicketState.READY, ("host_stopping",), TicketState.RUNNING)
    attempt = await store.read(lambda reader: reader.attempt("at_tk_1_1"))
    assert attempt is not None
    assert attempt.state is AttemptState.LOST
    assert await store.read(hosts.next_drain_deadline) is None


async def test_the_lease_sweep_ends_a_drain(store: Store, services: Services, fleet: FakeFleet, call: Call) -> None:
    await attach(store, fleet, a_host())
    lease = {"fence": 1, "attempts": 1, "host_id": "hs_1", "attempt_id": "at_tk_1_1", "lease_expires_at": NOW + 45}
    running = a_ticket(1, TicketState.RUNNING, **lease)
    await store.write(lambda tx: tx.add_tickets([running]))
    await store.write(lambda tx: tx.add_attempts([an_attempt(running)]))
    keeper = LeaseKeeper(store, fleet)
    assert await keeper.turn() == 0
    await hosts.drain(services, call, "hs_1", 0.0)
    assert await keeper.turn() == 1
    (ticket,) = await store.read(lambda reader: reader.tickets_by_id(["tk_1"]))
    assert (ticket.state, ticket.host_id) == (TicketState.READY, "")
    assert await keeper.turn() == 0


async def test_an_uncordoned_host_is_not_drained_later(
    store: Store, services: Services, fleet: FakeFleet, call: Call
) -> None:
    await attach(store, fleet, a_host())
    await hosts.drain(services, call, "hs_1", 30.0)
    await hosts.uncordon(services, call, "hs_1")
    assert await store.read(hosts.next_drain_deadline) is None


async def test_vms_boot_where_there_is_most_room(
    store: Store, services: Services, fleet: FakeFleet, call: Call
) -> None:
    small, cordoned = a_host(1, capacity=Capacity(2)), a_host(3, capacity=Capacity(99), state=HostState.CORDONED)
    await attach(store, fleet, small, a_host(2, capacity=Capacity(9)), cordoned)
    fleet.answers["boot_vms"] = [CommandUpdate(0.5, "", done=False), replace(DONE, vms=(a_vm(7, host_id="hs_2"),))]
    booted = await vms.boot_vms(services, call, count=1, image="default", host_id="")
    assert fleet.calls == [("boot_vms", "hs_2", {"count": 1, "image": "default"})]
    assert [one.id for one in booted] == ["vm_7"]
    assert await store.read(lambda reader: vms.get_vm(reader, call, "vm_7")) == booted[0]


async def test_without_a_host_nothing_boots(services: Services, call: Call) -> None:
    with pytest.raises(Unavailable):
        await vms.boot_vms(services, call, count=1, image="", host_id="")
    with pytest.raises(NotFound):
        await vms.boot_vms(services, call, count=1, image="", host_id="hs_9")


async def test_verbs_reach_the_host_of_the_vm(store: Store, services: Services, fleet: FakeFleet, call: Call) -> None:
    await attach(store, fleet, a_host())
    await store.write(lambda tx: tx.save_vms([a_vm(1), a_vm(2, state=VmState.STOPPED)]))
    fleet.answers["vm"] = [replace(DONE, vms=(a_vm(1, state=VmState.PAUSED),))]
    assert (await vms.pause_vm(services, call, "vm_1")).state is VmState.PAUSED
    assert fleet.calls == [("vm", "hs_1", {"vm_id": "vm_1", "verb": "pause"})]
    await vms.delete_vm(services, call, "vm_2")
    assert len(fleet.calls) == 1
    with pytest.raises(FailedPrecondition):
        await vms.resume_vm(services, call, "vm_2")
    fleet.answers["vm"] = FailedPrecondition("cannot be paused")
    with pytest.raises(FailedPrecondition, match="cannot be paused"):
        await vms.pause_vm(services, call, "vm_1")


async def test_stats_fall_back_to_the_last_report(
    store: Store, services: Services, fleet: FakeFleet, call: Call
) -> None:
    old, new = VmSample(NOW, 1, 2, 3, 4, 5), VmSample(NOW + 1, 2, 2, 3, 4, 5)
    await store.write(lambda tx: tx.save_vms([a_vm(sample=old)]))
    assert await vms.vm_stats(services, call, "vm_1") == [old]
    fleet.sampled = [old, new]
    assert await vms.vm_stats(services, call, "vm_1") == [old, new]


async def test_the_coordinator_shows_how_things_stand(store: Store, fleet: FakeFleet, call: Call) -> None:
    await attach(store, fleet, a_host(1))
    await store.write(lambda tx: tx.save_host(a_host(2, state=HostState.OFFLINE)))
    states = [TicketState.READY, TicketState.READY, TicketState.RUNNING, TicketState.FAILED]
    await store.write(lambda tx: tx.add_tickets([a_ticket(n, state) for n, state in enumerate(states)]))

    async def status() -> coordinator.CoordinatorStatus:
        return await store.read(
            lambda reader: coordinator.status(
                reader,
                call,
                started_at=NOW,
                version="1",
                connected=fleet.connected(),
                unplaceable={"TKT-000": "no host"},
            )
        )

    shown = await status()
    assert (shown.running, shown.max_vms, shown.queue_depth, shown.leased) == (True, 0, 2, 1)
    assert (shown.hosts_online, shown.hosts_total) == (1, 2)
    assert shown.tickets[TicketState.FAILED] == 1
    await store.write(lambda tx: coordinator.start(tx, call, 5))
    await store.write(lambda tx: coordinator.stop(tx, call))
    shown = await status()
    assert (shown.running, shown.max_vms) == (False, 5)
    await store.write(lambda tx: coordinator.start(tx, call, 0))
    shown = await status()
    assert (shown.running, shown.max_vms) == (True, 5)
    events = await store.read(lambda reader: reader.events("coordinator", 0, 9))
    assert [one.type for one in events] == ["coordinator.started", "coordinator.stopped", "coordinator.started"]


async def test_vms_booted_by_hand_are_cleaned_up_by_age(
    store: Store, services: Services, fleet: FakeFleet, call: Call
) -> None:
    await attach(store, fleet, a_host(1))
    young, old = a_vm(1, created_at=NOW - 599), a_vm(2, created_at=NOW - 600)
    ticket, away = a_vm(3, created_at=0.0, attempt_id="at_1"), a_vm(4, created_at=0.0, host_id="hs_9")
    stopped = a_vm(5, created_at=0.0, state=VmState.STOPPED)
    await store.write(lambda tx: tx.save_vms([young, old, ticket, away, stopped]))
    fleet.answers["vm"] = [DONE]
    gone, errors = await vms.cleanup_vms(services, call, 600)
    assert ([vm.id for vm in gone], errors) == (["vm_2"], [])
    assert fleet.calls == [("vm", "hs_1", {"vm_id": "vm_2", "verb": "terminate"})]
    fleet.answers["vm"] = Unavailable("busy")
    gone, errors = await vms.cleanup_vms(services, call, 0)
    assert (gone, sorted(errors)) == ([], ["vm_1: busy", "vm_2: busy"])


async def test_vms_ail_when_they_are_unhealthy_or_nobody_knows(store: Store, call: Call) -> None:
    healthy, ill = a_vm(1, health=VmHealth.HEALTHY), a_vm(2, health=VmHealth.UNHEALTHY, misses=3)
    away, ended = a_vm(3, host_id="hs_9", health=VmHealth.HEALTHY), replace(ill, id="vm_4", state=VmState.STOPPED)
    await store.write(lambda tx: tx.save_vms([healthy, ill, away, replace(ended, stopped_at=NOW)]))

    async def ailing(*, stopped: bool) -> list[tuple[str, VmHealth]]:
        found, token = await store.read(
            lambda reader: vms.list_unhealthy(reader, call, "", Page(), {"hs_1"}, include_stopped=stopped)
        )
        assert token == ""
        return [(vm.id, vm.health) for vm in found]

    now = [("vm_2", VmHealth.UNHEALTHY), ("vm_3", VmHealth.UNKNOWN)]
    assert await ailing(stopped=False) == now
    assert await ailing(stopped=True) == [*now, ("vm_4", VmHealth.UNHEALTHY)]
    assert await store.read(lambda reader: reader.vm_counts()) == (3, 1)


async def test_a_status_over_more_hosts_than_a_page(store: Store, call: Call) -> None:
    for number in range(150):
        await save(store, a_host(number))
    assert len(await store.read(lambda reader: list(hosts.all_hosts(reader)))) == 150
