"""VMs as people handle them: boot, look, pause, type, remove."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from swarm_sdk.client import Client
from swarm_sdk.errors import NotFoundError
from swarm_sdk.types import Vm, VmState, name_of
from tests.e2e.harness import inventory, tickets
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.waiting import eventually


@pytest.fixture
async def vm(client: Client) -> AsyncIterator[Vm]:
    (booted,) = await client.vms.boot()
    yield booted
    await client.vms.delete(booted.id)


async def test_a_booted_vm_is_listed_and_removed(deployment: Deployment, client: Client) -> None:
    first, second = deployment.swarm("vm", "boot", "--count", "2", "--json").json
    listed = {each["id"]: each for each in deployment.swarm("vm", "list", "--json").json}
    pid = deployment.vm_pid(first["id"])

    assert {first["id"], second["id"]} <= listed.keys()
    assert listed[first["id"]]["state"] == "VM_STATE_RUNNING"
    assert listed[first["id"]]["ticket_id"] == ""

    deployment.swarm("vm", "rm", first["id"], second["id"])

    async def gone() -> bool:
        return not inventory.alive(pid) and not {first["id"], second["id"]} & {v.id for v in await client.vms.list()}

    await eventually(gone, "the VMs are gone")


async def test_a_paused_vm_uses_no_processor_time(client: Client, vm: Vm) -> None:
    paused = await client.vms.pause(vm.id)
    assert paused.state == VmState.VM_STATE_PAUSED
    resumed = await client.vms.resume(vm.id)
    assert resumed.state == VmState.VM_STATE_RUNNING


async def test_a_paused_agent_stands_still(client: Client) -> None:
    made = await client.tickets.create(tickets.shell("n=0; while sleep 0.1; do n=$((n+1)); echo tick $n; done"))
    vm_id = await tickets.vm_of(client, made.id)

    async def ticks() -> int:
        return (await tickets.logs(client, made.id)).count("tick")

    await eventually(ticks, "it ticks")
    await client.vms.pause(vm_id)
    await asyncio.sleep(1)  # what was on its way has arrived
    before = await ticks()
    await asyncio.sleep(1)
    during = await ticks()
    await client.vms.resume(vm_id)

    async def more() -> bool:
        return await ticks() > during

    await eventually(more, "it ticks again")
    await client.tickets.cancel(made.id)
    assert during == before


async def test_stats_grow(client: Client, kind: str) -> None:
    made = await client.tickets.create(tickets.shell("while :; do :; done"))
    vm_id = await tickets.vm_of(client, made.id)

    async def busy() -> bool:
        samples = await client.vms.stats(vm_id)
        return len(samples) > 1 and samples[-1].cpu_seconds > samples[0].cpu_seconds

    await eventually(busy, "the samples show processor time")
    samples = await client.vms.stats(vm_id)
    await client.tickets.cancel(made.id)

    # A simulated VM has a process, and so memory, only once it has work; a real one always does.
    at_work = [each for each in samples if kind == "real" or each.cpu_seconds > 0]
    assert at_work
    assert all(each.memory_bytes > 0 for each in at_work)
    times = [each.time.ToNanoseconds() for each in samples]
    assert times == sorted(times)


async def test_an_unknown_vm_is_not_found(client: Client) -> None:
    for call in (client.vms.get, client.vms.pause, client.vms.resume, client.vms.delete, client.vms.stats):
        with pytest.raises(NotFoundError):
            await call("vm_00000000000000000000000000")


@pytest.mark.kinds("real")
async def test_the_console_shows_what_the_guest_writes(client: Client) -> None:
    made = await client.tickets.create(tickets.shell("while sleep 0.2; do echo hello console > /dev/console; done"))
    console = await client.vms.console(await tickets.vm_of(client, made.id))
    seen = b""
    async with asyncio.timeout(60):
        async for chunk in console:
            seen += chunk
            if b"hello console" in seen:
                break
    await console.write(b"ignored\n")
    await console.close()
    await client.tickets.cancel(made.id)

    assert b"hello console" in seen


async def test_removing_the_vm_of_a_ticket_places_it_again(client: Client) -> None:
    made = await client.tickets.create(tickets.shell("sleep 4"))
    await client.vms.delete(await tickets.vm_of(client, made.id))
    done = await tickets.settled(client, made.id)

    assert name_of(done, "state") == "completed"
    assert done.attempts == 2


async def test_cleanup_leaves_what_is_used(deployment: Deployment, client: Client, vm: Vm) -> None:
    report = deployment.swarm("cleanup", "--json").json

    assert report["vms"] == 0
    assert name_of(await client.vms.get(vm.id), "state") == "running"
