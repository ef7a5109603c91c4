"""Health, drains and cleanups, as clients see them, with hosts on real streams."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from swarm.coordinator.v1 import coordinator_pb2
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm_sdk import Client, InvalidArgumentError, NotFoundError, TicketSpec, VmHealth, name_of
from tests.fakes import host as fake
from tests.fakes.control import Control, control_plane, eventually
from tests.fakes.host import FakeHost

HOSTS = 40
HEALTHY, UNHEALTHY, UNKNOWN = (
    VmHealth.VM_HEALTH_HEALTHY,
    VmHealth.VM_HEALTH_UNHEALTHY,
    VmHealth.VM_HEALTH_UNKNOWN,
)


def reported(**health: VmHealth.ValueType) -> pb.HostEvent:
    report = fake.vm_report(*health)
    for vm in report.vm_report.vms:
        vm.health, vm.misses = health[vm.id], 3 * (health[vm.id] == UNHEALTHY)
        vm.last_seen_at.FromSeconds(1_800_000_000)
    return report


async def test_the_health_of_vms_is_shown_as_far_as_it_is_known(control: Control, client: Client) -> None:
    async with control.host() as host:
        await host.deliver(reported(vm_a=HEALTHY, vm_b=UNHEALTHY))
        found = await client.vms.health("vm_b")
        assert (found.health, found.misses, found.host_connected) == (UNHEALTHY, 3, True)
        assert found.last_seen_at.ToSeconds() == 1_800_000_000
        assert [vm.id for vm in await client.vms.list_unhealthy()] == ["vm_b"]
        status = await client.coordinator.status()
        assert (status.vms, status.vms_unhealthy) == (2, 1)
        assert (await client.hosts.get("local")).connected
        await host.deliver(reported(vm_a=HEALTHY))
        assert [vm.id for vm in await client.vms.list_unhealthy()] == []
        assert [vm.id for vm in await client.vms.list_unhealthy(include_stopped=True)] == ["vm_b"]

    async def away() -> tuple[bool, bool]:
        shown = await client.hosts.get("local")
        return shown.connected, shown.silent

    await eventually(away, (False, True))
    found = await client.vms.health("vm_a")
    assert (found.health, found.host_connected) == (UNKNOWN, False)
    assert [vm.id for vm in await client.vms.list_unhealthy()] == ["vm_a"]
    with pytest.raises(NotFoundError):
        await client.vms.health("vm_none")


async def test_an_unhealthy_attempt_costs_the_ticket_nothing_of_its_own(client: Client, host: FakeHost) -> None:
    ticket = await client.tickets.create(TicketSpec(title="work", agent="echo"))
    first = await host.assignment()
    await host.deliver(fake.finished(first.attempt, cause="unhealthy"))
    host.attempts.clear()
    await host.run(await host.assignment(2), head="")
    done = await client.tickets.wait(ticket.id, timeout_s=10)
    assert (name_of(done, "state"), done.attempts) == ("completed", 2)


async def test_cleanups_are_recorded_whoever_ran_them(client: Client, host: FakeHost) -> None:
    report = coordinator_pb2.CleanupReport(
        cgroups=2, cached=1, freed_bytes=1 << 20, assignments=99, details=["gone: x"]
    )
    cleaned = pb.Cleaned(report=report)
    cleaned.started_at.FromSeconds(1_800_000_000)
    await host.deliver(pb.HostEvent(cleaned=cleaned))
    (run,) = await client.coordinator.cleanup_status(host="local")
    assert (run.host_name, run.by, run.report.cgroups, run.report.freed_bytes) == ("local", "periodic", 2, 1 << 20)
    assert run.report.assignments == 0  # leases are not a host's to speak of

    async def obey() -> None:
        command = (await host.expect("command"))[0].command
        done = pb.CommandUpdate(command_id=command.command_id, done=True, cleanup=coordinator_pb2.CleanupReport(vms=1))
        await host.send(pb.HostEvent(command_update=done))

    obeying = asyncio.create_task(obey())
    assert (await client.coordinator.cleanup()).vms == 1
    await obeying
    runs = await client.coordinator.cleanup_status(runs=2)
    assert [(run.host_name, run.by) for run in runs] == [("local", "admin"), ("", "admin"), ("local", "periodic")]
    with pytest.raises(NotFoundError):
        await client.coordinator.cleanup_status(host="nowhere")


async def test_a_drain_ends_at_its_deadline_with_every_ticket_placed_again(control: Control, client: Client) -> None:
    async with control.host() as host:
        tickets = [await client.tickets.create(TicketSpec(title=f"work {n}", agent="echo")) for n in range(5)]
        assignments = [await host.assignment(n + 1) for n in range(5)]
        await host.deliver(
            *(event for each in assignments for event in (fake.started(each.attempt), fake.running(each.attempt)))
        )
        with pytest.raises(InvalidArgumentError):
            await client.hosts.drain("local", deadline_s=-1)
        await client.hosts.drain("local")
        async with control.host("other") as other:
            late = await client.tickets.create(TicketSpec(title="late", agent="echo"))
            assert (await other.assignment()).ticket_key == late.key
            assert (await client.hosts.get("local")).used.vms == 5  # without a deadline they may finish
            await client.hosts.drain("local", deadline_s=0)
            cut_off = {event.revoke.attempt.attempt_id for event in await host.expect("revoke", 5)}
            assert cut_off == {each.attempt.attempt_id for each in assignments}
            assert len(await other.expect("assignment")) == 1, "they wait for their VMs to stop"
            await host.deliver(*(fake.stopped(each.attempt) for each in assignments))
            moved = [await other.assignment(n + 2) for n in range(5)]
            assert {each.ticket_key for each in moved} == {ticket.key for ticket in tickets}
            assert (await client.hosts.get("local")).used.vms == 0
            seq = await host.send(fake.renewal(1, *(each.attempt for each in assignments)))
            await host.until(lambda: host.acked >= seq)
            (renewed,) = await host.expect("renewed")
            assert len(renewed.renewed.stale) == 5
        shown = [await client.tickets.get(ticket.id) for ticket in tickets]
        assert [list(ticket.causes) for ticket in shown] == [["host_stopping"]] * 5, (
            "nobody's fault: they ran again at once"
        )


async def test_many_hosts_come_back_at_once_to_a_control_plane_that_restarted(home: Path) -> None:
    names = tuple(f"host-{number}" for number in range(HOSTS))

    async def attached(client: Client) -> int:
        return (await client.coordinator.status()).hosts_online

    async def all_of_them(control: Control) -> None:
        async with AsyncExitStack() as stack:
            hosts = [control.host(name) for name in names]
            await asyncio.gather(*(stack.enter_async_context(host) for host in hosts))
            async with control.client() as client:
                await eventually(lambda: attached(client), HOSTS)
            assert max(host.welcome.reconnect_within_ms for host in hosts) >= 5 * HOSTS

    for _ in range(2):
        async with control_plane(home, hosts=names) as control:
            await all_of_them(control)
