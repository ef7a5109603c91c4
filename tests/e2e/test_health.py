"""A guest that is frozen from within is given up; one that is merely busy is not."""

from __future__ import annotations

from swarm_sdk.client import Client
from swarm_sdk.types import VmHealth, name_of
from tests.e2e.harness import tickets
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.waiting import eventually

PLAN = {"host": ("--health-every-s", "3"), "max_vms": 2}

# The agent leads a session of its own, and the runtime is its parent. The second attempt says nothing for more than
# three rounds and takes all the time that there is.
SCRIPT = """
if grep -q '"fence": "1"' "$SWARM_TICKET"; then
  leader=$(cut -d' ' -f6 /proc/self/stat)
  kill -STOP "$(cut -d' ' -f4 "/proc/$leader/stat")"
  sleep 600
fi
timeout 11 sh -c 'while :; do :; done' || true
echo "came through"
"""


async def test_a_frozen_guest_is_replaced_and_a_busy_one_is_not(deployment: Deployment, client: Client) -> None:
    made = await client.tickets.create(tickets.shell(SCRIPT))
    vm_id = await tickets.vm_of(client, made.id)
    done = await tickets.settled(client, made.id)
    attempts = await tickets.attempts(client, made.id)

    assert name_of(done, "state") == "completed", await tickets.story(client, made.id)
    assert [name_of(each, "state") for each in attempts] == ["lost", "succeeded"]
    assert "no sign of life" in attempts[0].reason
    assert "came through" in await tickets.logs(client, made.id)

    async def known() -> bool:
        return vm_id in {vm.id for vm in await client.vms.list_unhealthy(include_stopped=True)}

    await eventually(known, "the VM is listed as unhealthy")
    assert (await client.vms.health(vm_id)).health == VmHealth.VM_HEALTH_UNHEALTHY
    assert (await client.vms.health(attempts[1].vm_id)).health == VmHealth.VM_HEALTH_HEALTHY
    assert attempts[0].vm_id in deployment.swarm("vm", "unhealthy", "--all").out
    assert "1 host, 0 silent" in deployment.swarm("status").out


async def test_a_cleanup_over_everything_is_kept_and_shown(deployment: Deployment, client: Client) -> None:
    await client.vms.boot(1)
    deployment.swarm("vm", "cleanup", "--older-than", "1h")
    assert len(await client.vms.list()) == 1
    assert "removed vm_" in deployment.swarm("vm", "cleanup", "--older-than", "0s").out

    deployment.swarm("cleanup")
    shown = deployment.swarm("cleanup", "--status").out
    assert "control plane" in shown
    assert "local" in shown
