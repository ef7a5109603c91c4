"""A host behind a cable: cut off, it stops its own work before anybody else begins it (I4)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from swarm_sdk.client import Client
from swarm_sdk.types import Ticket, name_of
from tests.e2e.harness import inventory, tickets
from tests.e2e.harness.cable import Cable
from tests.e2e.harness.deployment import Deployment, Plan
from tests.e2e.harness.waiting import eventually, until
from tests.extent import long

TTL_S = 9
AWAY = "away"
FENCED = "no renewal succeeded in time"
BUSY = "echo begun; while :; do :; done"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

pytestmark = pytest.mark.kinds("sim", "real") if long() else pytest.mark.kinds("real")


@pytest.fixture(scope="module")
def cable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cable]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if missing := [name for name in ("ip", "nsenter", "unshare", "openssl") if shutil.which(name) is None]:
        pytest.skip(f"a cable needs {', '.join(missing)}")
    with Cable(tmp_path_factory.mktemp("cable")) as made:
        yield made


@pytest.fixture(scope="module")
def plan(cable: Cable, kind: str, request: pytest.FixtureRequest) -> Plan:
    """The host at the far end has VMs of the kind in question; the one here only takes over."""
    if kind == "real":
        request.getfixturevalue("template")
    certificate, key = cable.certificate()
    place = f"{cable.near}:{cable.port()}"
    tls = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    return Plan(
        kind="sim",
        hosts=(AWAY, "local"),
        kinds={AWAY: kind},
        control=("--lease-ttl", str(TTL_S), "--listen", place, *tls),
        each={AWAY: ("--control", place, "--ca", str(certificate))},
        within={AWAY: cable.within},
    )


async def at_work(client: Client) -> Ticket:
    """A ticket whose agent keeps a CPU busy on the far host."""
    await client.hosts.cordon("local")
    spec = tickets.shell(BUSY, resources={"isolation": "ISOLATION_CLASS_SIM"})
    made = await client.tickets.create(spec)

    async def begun() -> bool:
        return "begun" in await tickets.logs(client, made.id)

    await eventually(begun, "the agent is at work")
    return await client.tickets.get(made.id)


def cpu_s(pid: int) -> float:
    """CPU time of a process and its descendants: of a VMM, that of its guest too."""
    total = 0.0
    for each in (pid, *_children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) * TICK_S
    return total


def _children(pid: int) -> list[int]:
    children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(grandchild for child in children for grandchild in _children(child))]


async def standing(pid: int) -> bool:
    """Whether it uses no CPU although it would."""
    before = cpu_s(pid)
    await asyncio.sleep(1)
    return cpu_s(pid) - before < 0.1


def fenced_at(deployment: Deployment) -> list[float]:
    """When the far host found its lease lost and had begun to pause, in epoch seconds."""
    lines = [line for line in deployment.hosts[AWAY].log.read_text(encoding="utf-8").splitlines() if FENCED in line]
    return [datetime.fromisoformat(json.loads(line)["time"]).timestamp() for line in lines]


async def test_a_host_without_a_control_plane_pauses_and_goes_on_with_it(
    deployment: Deployment, client: Client
) -> None:
    ticket = await at_work(client)
    pid = deployment.vm_pid(ticket.current_attempt.vm_id, AWAY)
    assert not await standing(pid)
    deployment.control.kill()
    until(lambda: fenced_at(deployment), "the host fences itself")
    await eventually(lambda: standing(pid), "its VM stands still")
    deployment.control.start()
    await deployment.until_served()

    async def goes_on() -> bool:
        return not await standing(pid)

    await eventually(goes_on, "its VM goes on")
    (attempt,) = await tickets.attempts(client, ticket.id)
    assert attempt.fence == ticket.fence
    await client.tickets.cancel(ticket.id)
    until(lambda: not inventory.alive(pid), "its VM is gone")


async def test_a_host_that_is_cut_off_stops_before_another_begins(
    deployment: Deployment, client: Client, cable: Cable
) -> None:
    ticket = await at_work(client)
    pid = deployment.vm_pid(ticket.current_attempt.vm_id, AWAY)
    earlier = len(fenced_at(deployment))
    await client.hosts.uncordon("local")
    pulled = time.time()
    cable.pull()
    try:
        until(lambda: fenced_at(deployment)[earlier:], "the host fences itself")
        await eventually(lambda: standing(pid), "its VM stands still")

        async def taken_over() -> bool:
            return len(await tickets.attempts(client, ticket.id)) == 2

        await eventually(taken_over, "the ticket is placed elsewhere")
        assert inventory.alive(pid)
        assert await standing(pid), "it stands still while another works"
    finally:
        cable.plug()
    first, second = await tickets.attempts(client, ticket.id)
    fenced = fenced_at(deployment)[earlier]

    assert (name_of(first, "state"), first.cause) == ("lost", "host_lost")
    assert pulled < fenced < second.assigned_at.ToNanoseconds() / 1e9
    assert second.fence > first.fence
    until(lambda: not inventory.alive(pid), "the stale VM is destroyed once the cable is back")
    await client.tickets.cancel(ticket.id)
