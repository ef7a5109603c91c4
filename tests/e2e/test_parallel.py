"""Ten tickets at once on two hosts; a VM is killed, then a host that never comes back (I1, I2, I3)."""

from __future__ import annotations

import os
import signal
import time

import pytest

from swarm_sdk.client import Client
from swarm_sdk.types import name_of
from tests.e2e.harness import ledger, tickets, validators
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.history import History, Recorder
from tests.e2e.harness.waiting import eventually
from tests.extent import long

TTL_S = 12
SWEEP_S = 5.0
PLAN = {"hosts": ("local", "second"), "max_vms": 10, "control": ("--lease-ttl", str(TTL_S))}
TICKETS = 10
SCRIPT = "echo begun; sleep 12; echo {number} > {number}.txt"
PATIENCE_S = 400.0

# Simulated VMs meet the same and more in test_storm.py.
pytestmark = pytest.mark.kinds("sim", "real") if long() else pytest.mark.kinds("real")


async def test_ten_tickets_survive_the_death_of_a_vm_and_of_a_host(deployment: Deployment, client: Client) -> None:
    history = History()
    recorder = Recorder(client, history)
    upstream = deployment.upstream("ten", {"README.md": "ten\n"})
    project = await tickets.project(client, upstream)
    specs = [
        tickets.shell(SCRIPT.format(number=number), title=f"Number {number}", project_id=project.id)
        for number in range(TICKETS)
    ]
    idents = [ticket.id for ticket in await recorder.create(specs)]
    hosts = {host.name: host.id for host in await client.hosts.list()}

    async def at_work(host: str) -> str:
        """VM of a ticket that runs on a host."""
        found = [await client.tickets.get(ident) for ident in idents]
        running = [each.current_attempt for each in found if name_of(each, "state") == "running"]
        return next((each.vm_id for each in running if each.vm_id and each.host_id == hosts[host]), "")

    victim = await eventually(lambda: at_work("local"), "a ticket runs on the first host", patience_s=PATIENCE_S)
    os.kill(deployment.vm_pid(victim), signal.SIGKILL)

    async def noticed() -> bool:
        attempts = [each for ident in idents for each in await tickets.attempts(client, ident)]
        return "vm_lost" in {each.cause for each in attempts}

    await eventually(noticed, "the death of the VM is noticed")
    await eventually(lambda: at_work("second"), "a ticket runs on the second host", patience_s=PATIENCE_S)
    died = time.time()
    deployment.hosts["second"].kill()
    done = [await tickets.settled(client, ident, patience_s=PATIENCE_S) for ident in idents]
    deployment.hosts["second"].start()  # so that its orphaned VMs do not outlive the test
    await deployment.until_online("second")
    await recorder.close()
    stored = ledger.read(deployment.state / "controlplane.db")

    assert tickets.states(done) == ["in_review"] * TICKETS
    assert not validators.check(history, stored, {project.id: upstream.branches()})
    assert not validators.resumed_in_time(stored, hosts["second"], died, within_s=TTL_S * 4 / 3 + 2 * SWEEP_S)
    assert {each.cause for each in stored.attempts} >= {"", "vm_lost", "host_lost"}
    assert [upstream.read(f"{number}.txt", f"swarm/{each.key}/pr") for number, each in enumerate(done)] == [
        str(number) for number in range(TICKETS)
    ]
