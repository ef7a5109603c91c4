"""Each outage alone: of the control plane (I5), of half the hosts (I5), of a host daemon (I9), and a drain (I15)."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from swarm_sdk.client import Client
from swarm_sdk.types import Attempt, HostState, Ticket, name_of
from tests.e2e.harness import inventory, ledger, played, tickets, validators
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.waiting import eventually, until
from tests.extent import either

TTL_S = 4
SWEEP_S = 5.0
OVER_S = TTL_S * 4 / 3 + SWEEP_S  # when a lease is surely taken back, if it may be
PLAN = {"hosts": ("local", "second", "third", "fourth"), "max_vms": 20, "control": ("--lease-ttl", str(TTL_S))}
SLOW = "echo begun; for i in 1 2 3 4 5 6 7 8; do sleep 0.5; done"
CHATTY = "echo begun; i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i; sleep 0.2; done"
REVOKED = '"message": "revoked"'
FENCED = "no renewal succeeded in time"
BRAKED = "hosts are gone together: no lease expires"

pytestmark = [pytest.mark.kinds("sim"), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
async def _whole(deployment: Deployment) -> AsyncIterator[None]:
    """Leaves the deployment as the next test wants it."""
    async with deployment.client() as client:
        await played.publish(client)
    yield
    for process in deployment.processes:
        if process.alive():
            process.signal(signal.SIGCONT)
        else:
            process.start()
    await deployment.until_served()
    async with deployment.client() as client:
        for name in deployment.hosts:
            await client.hosts.uncordon(name)
            await deployment.until_online(name)


async def running_on(client: Client, names: Sequence[str], count: int, **script: Any) -> list[Ticket]:
    """So many tickets at work, on these hosts only."""
    others = await cordon_others(client, *names)
    made = await client.tickets.create_all([played.ticket(f"Number {number}", **script) for number in range(count)])
    at_work = [await tickets.reached(client, ticket.id, "running") for ticket in made]
    for name in others:
        await client.hosts.uncordon(name)
    return at_work


async def cordon_others(client: Client, *names: str) -> set[str]:
    """Take every other host out of service; answers which."""
    others = {host.name for host in await client.hosts.list()} - set(names)
    for name in others:
        await client.hosts.cordon(name)
    return others


async def until_begun(client: Client, ticket: Ticket) -> None:
    """Until its agent has said so."""

    async def begun() -> bool:
        return "begun" in await tickets.logs(client, ticket.id)

    await eventually(begun, "the agent has begun")


async def attempts(client: Client, made: Sequence[Ticket]) -> list[list[Attempt]]:
    return [await tickets.attempts(client, ticket.id) for ticket in made]


def states(found: Sequence[Sequence[Attempt]]) -> set[tuple[str, ...]]:
    return {tuple(name_of(each, "state") for each in mine) for mine in found}


async def test_no_vm_dies_of_an_outage_of_the_control_plane(deployment: Deployment, client: Client) -> None:
    await cordon_others(client, "local")
    slow = await client.tickets.create(tickets.shell(SLOW))
    await until_begun(client, slow)
    made = await running_on(client, list(deployment.hosts), 12, run_for_ms=5000)
    pid = deployment.vm_pid((await client.tickets.get(slow.id)).current_attempt.vm_id)
    deployment.control.kill()
    await asyncio.sleep(either(2.5, 10) * TTL_S)
    until(lambda: all(FENCED in host.tail(200) for host in deployment.hosts.values()), "every host pauses its VMs")
    assert stopped(pid), "a host that hears nothing pauses its VMs"
    deployment.control.start()
    await deployment.until_served()
    done = [await tickets.settled(client, ticket.id) for ticket in (*made, slow)]

    assert set(tickets.states(done)) == {"completed"}
    assert states(await attempts(client, (*made, slow))) == {("succeeded",)}


def stopped(pid: int) -> bool:
    """Whether a process stands still because of a signal."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


async def test_half_the_hosts_gone_together_lose_nothing_until_one_is_back(
    deployment: Deployment, client: Client
) -> None:
    dead, frozen = "second", "third"
    on_dead = await running_on(client, [dead], 5, run_for_ms=4000)
    on_frozen = await running_on(client, [frozen], 5, run_for_ms=4000)
    died = time.time()
    deployment.hosts[dead].kill()
    deployment.hosts[frozen].signal(signal.SIGSTOP)
    until(lambda: BRAKED in deployment.control.log.read_text(), "the brake is on")
    await asyncio.sleep(SWEEP_S + 0.5)

    # Its connection is open, but it says nothing: it gets no work.
    assert (await client.hosts.get(frozen)).state == HostState.HOST_STATE_OFFLINE
    assert states(await attempts(client, (*on_dead, *on_frozen))) == {("running",)}
    deployment.hosts[frozen].signal(signal.SIGCONT)
    thawed = time.time()
    kept = [await tickets.settled(client, ticket.id) for ticket in on_frozen]
    again = [await tickets.settled(client, ticket.id) for ticket in on_dead]
    stored = ledger.read(deployment.state / "controlplane.db")

    assert set(tickets.states(kept) + tickets.states(again)) == {"completed"}
    assert states(await attempts(client, on_frozen)) == {("succeeded",)}
    assert states(await attempts(client, on_dead)) == {("lost", "succeeded")}
    host_id = on_dead[0].current_attempt.host_id
    # Once the host is back: its own reconnection, and a sweep.
    assert not validators.resumed_in_time(stored, host_id, died, within_s=thawed - died + OVER_S)


async def test_a_zombie_changes_nothing(deployment: Deployment, client: Client) -> None:
    """Its agents talk all the time that it is frozen, and end after others took over (I1)."""
    name = "third"
    others = await cordon_others(client, name)
    made = await client.tickets.create_all([tickets.shell(CHATTY, title=f"Number {n}") for n in range(3)])
    for ticket in made:
        await until_begun(client, ticket)
    for other in others:
        await client.hosts.uncordon(other)
    deployment.hosts[name].signal(signal.SIGSTOP)

    async def taken_over() -> bool:
        found = [await client.tickets.get(ticket.id) for ticket in made]
        return all(each.fence == 2 and name_of(each, "state") == "running" for each in found)

    await eventually(taken_over, "others have taken over")
    deployment.hosts[name].signal(signal.SIGCONT)
    await deployment.until_online(name)
    done = [await tickets.settled(client, ticket.id) for ticket in made]
    stored = ledger.read(deployment.state / "controlplane.db")

    assert set(tickets.states(done)) == {"completed"}
    assert states(await attempts(client, made)) == {("lost", "succeeded")}
    assert not validators.no_stale_write(stored)
    assert not validators.completed_once(stored)
    assert not validators.fences_grow(stored)
    mine = {each.id for each in stored.attempts if each.ticket_id in {ticket.id for ticket in made} and each.fence == 1}
    until(lambda: mine <= revoked(deployment, name), "the zombie is told that its leases are over")


def revoked(deployment: Deployment, name: str) -> set[str]:
    """Attempts that a host was told to let go."""
    lines = [line for line in deployment.hosts[name].log.read_text(encoding="utf-8").splitlines() if REVOKED in line]
    return {json.loads(line)["attempt_id"] for line in lines}


@pytest.mark.parametrize("state", ["kept", "wiped"])
async def test_a_killed_host_daemon_adopts_or_ends_its_vms_and_forgets_none(
    deployment: Deployment, client: Client, state: str
) -> None:
    name = "fourth"
    await cordon_others(client, name)
    made = await client.tickets.create_all([tickets.shell(SLOW, title=f"Number {n}") for n in range(3)])
    for ticket in made:
        await until_begun(client, ticket)
    before = [await client.tickets.get(ticket.id) for ticket in made]
    pids = [deployment.vm_pid(ticket.current_attempt.vm_id, name) for ticket in before]
    deployment.hosts[name].kill()
    assert all(inventory.alive(pid) for pid in pids), "VMs outlive their daemon"
    if state == "wiped":
        shutil.rmtree(deployment.host_dir(name))
    deployment.hosts[name].start()
    await deployment.until_online(name)
    done = [await tickets.settled(client, ticket.id) for ticket in made]
    after = await attempts(client, made)

    assert set(tickets.states(done)) == {"completed"}
    if state == "kept":
        assert states(after) == {("succeeded",)}
        assert [mine[0].vm_id for mine in after] == [ticket.current_attempt.vm_id for ticket in before]
        assert [ticket.fence for ticket in done] == [ticket.fence for ticket in before], "adopted under the same fence"
    else:
        assert states(after) == {("lost", "succeeded")}
    until(lambda: not any(inventory.alive(pid) for pid in pids), "no VM is left that nobody tracks")


async def test_a_drain_with_a_deadline_gives_back_what_still_runs(deployment: Deployment, client: Client) -> None:
    name = "second"
    made = await running_on(client, [name], 5, hang=True)
    short = await running_on(client, [name], 1, run_for_ms=200)
    drained = deployment.swarm("host", "drain", name, "--deadline", "1", "--json").json
    moment = time.time()
    more = await client.tickets.create_all([played.ticket(f"Later {n}", run_for_ms=10) for n in range(8)])
    done = [await tickets.settled(client, ticket.id) for ticket in (*more, *short)]
    assert set(tickets.states(done)) == {"completed"}

    async def moved() -> bool:
        return all(len(mine) == 2 for mine in await attempts(client, made))

    await eventually(moved, "what still ran at the deadline is placed elsewhere")
    found = await attempts(client, made)
    stored = ledger.read(deployment.state / "controlplane.db")
    assert {(name_of(mine[0], "state"), mine[0].cause) for mine in found} == {("lost", "host_stopping")}
    moved_on = [await client.tickets.get(ticket.id) for ticket in made]
    assert {tuple(ticket.causes) for ticket in moved_on} == {("host_stopping",)}, "nobody's fault: it costs no try"
    assert not validators.placed_after(stored, drained["id"], moment)

    async def empty() -> bool:
        return not [vm for vm in await client.vms.list() if vm.host_id == drained["id"]]

    await eventually(empty, "its VMs are gone")
    assert (await client.hosts.get(name)).state == HostState.HOST_STATE_DRAINING
    assert deployment.hosts[name].terminate() == 0
    for ticket in made:
        await client.tickets.cancel(ticket.id)
