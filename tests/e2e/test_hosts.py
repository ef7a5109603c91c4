"""Several hosts on one machine, and hosts that leave."""

from __future__ import annotations

import signal

import pytest

from swarm_sdk.client import Client
from swarm_sdk.types import HostState, name_of
from tests.e2e.harness import tickets
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.waiting import eventually

PLAN = {"hosts": ("local", "second"), "max_vms": 2, "control": ("--lease-ttl", "12")}


async def test_two_hosts_share_the_work(deployment: Deployment, client: Client) -> None:
    specs = [tickets.shell("sleep 2", title=f"Number {number}") for number in range(4)]
    made = await client.tickets.create_all(specs)
    done = [await tickets.settled(client, each.id) for each in made]

    assert tickets.states(done) == ["completed"] * 4
    assert len({each.current_attempt.host_id for each in done}) == 2


async def test_a_drained_host_gets_nothing_new(deployment: Deployment, client: Client) -> None:
    deployment.swarm("host", "cordon", "second")
    local = await client.hosts.get("local")
    made = await client.tickets.create_all([tickets.shell("true", title=f"Number {n}") for n in range(3)])
    done = [await tickets.settled(client, each.id) for each in made]
    back = await client.hosts.uncordon("second")

    assert {each.current_attempt.host_id for each in done} == {local.id}
    assert back.state == HostState.HOST_STATE_ONLINE


@pytest.mark.kinds("sim")  # it waits for a lease to run out, however its VMs run
async def test_a_lost_host_loses_its_tickets_to_another(deployment: Deployment, client: Client) -> None:
    await client.hosts.cordon("local")
    made = await client.tickets.create(tickets.shell("echo begun; sleep 3"))
    await tickets.reached(client, made.id, "running")
    await client.hosts.uncordon("local")
    local = await client.hosts.get("local")
    deployment.hosts["second"].signal(signal.SIGSTOP)
    try:
        done = await tickets.settled(client, made.id)
    finally:
        deployment.hosts["second"].signal(signal.SIGCONT)
    attempts = await tickets.attempts(client, made.id)

    assert name_of(done, "state") == "completed"
    assert [name_of(each, "state") for each in attempts] == ["lost", "succeeded"]
    assert attempts[1].host_id == local.id

    async def zombie_gone() -> bool:
        """The host that came back ends what it no longer holds."""
        second = await client.hosts.get("second")
        return second.state == HostState.HOST_STATE_ONLINE and attempts[0].vm_id not in {
            vm.id for vm in await client.vms.list()
        }

    await eventually(zombie_gone, "the zombie is destroyed")
    assert name_of(await client.tickets.get(made.id), "state") == "completed"


async def test_work_waits_while_no_host_takes_it_and_status_says_why(deployment: Deployment, client: Client) -> None:
    for name in deployment.plan.hosts:
        await client.hosts.cordon(name)
    made = await client.tickets.create(tickets.shell("true"))

    async def explained() -> bool:
        return made.key in dict((await client.coordinator.status()).unplaceable)

    await eventually(explained, "the status tells why nothing is placed")
    shown = deployment.swarm("status").out
    for name in deployment.plan.hosts:
        await client.hosts.uncordon(name)

    assert made.key in shown
    assert name_of(await tickets.settled(client, made.id), "state") == "completed"


async def test_a_stopped_coordinator_places_nothing(deployment: Deployment, client: Client) -> None:
    deployment.swarm("engine", "stop")
    made = await client.tickets.create(tickets.shell("true"))
    stopped = await client.coordinator.status()
    waiting = await client.tickets.get(made.id)
    deployment.swarm("engine", "start", "--max-vms", "3")
    done = await tickets.settled(client, made.id)

    assert name_of(stopped, "state") == "stopped"
    assert name_of(waiting, "state") == "ready"
    assert name_of(done, "state") == "completed"
    assert (await client.coordinator.status()).max_vms == 3
