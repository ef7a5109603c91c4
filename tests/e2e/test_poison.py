"""I17: a ticket that always fails ends in the dead letter with its causes, and the work of others goes on beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from swarm_cli.commands.agent import bundle
from swarm_sdk.client import Client
from swarm_sdk.types import Ticket, TicketSpec, name_of
from tests.e2e.harness import tickets
from tests.e2e.harness.deployment import Deployment

PLAN = {"hosts": ("local", "second"), "max_vms": 3, "control": ("--retry-delays", "0.1,0.2,0.3")}
GOOD = 200
SHARE = 0.9


def played(title: str, script: Mapping[str, Any]) -> TicketSpec:
    """A ticket that simulated VMs play by its script."""
    spec = TicketSpec(title=title, agent="player", priority=9)
    spec.input.update({"sim": dict(script)})
    return spec


def poison(title: str, script: Mapping[str, Any] | str) -> TicketSpec:
    """It comes before everything else, each time."""
    spec = tickets.shell(script, title=title) if isinstance(script, str) else played(title, script)
    spec.priority = 0
    spec.timeout.FromSeconds(1 if title == "never ends" else 60)
    return spec


# What each poison does, and the cause that every one of its attempts has to name.
POISON: Mapping[str, tuple[Mapping[str, Any] | str, str]] = {
    "crashes its VM": ({"die": True}, "vm_lost"),
    "kills the runtime": ("kill -9 $PPID", "vm_lost"),
    "never ends": ({"hang": True}, "timeout"),
    "just fails": ({"exit": 1}, "agent_crashed"),
    "fills its disk": ({"exit": 1, "cause": "disk_full"}, "disk_full"),
}


@pytest.fixture(autouse=True)
async def player(client: Client, tmp_path: Path) -> None:
    """An agent that takes any input; it is published once, and never runs."""
    if "player" in {each.name for each in await client.registry.list()}:
        return
    manifest = {"name": "player", "version": "1.0.0", "description": "Played by a script", "command": ["true"]}
    (tmp_path / "agent.json").write_text(json.dumps(manifest))
    await client.registry.publish(bundle(tmp_path))


async def settled(client: Client, made: list[Ticket]) -> list[Ticket]:
    return list(await asyncio.gather(*(tickets.settled(client, each.id) for each in made)))


@pytest.mark.kinds("sim")
async def test_poison_stops_and_good_tickets_do_not_notice(client: Client) -> None:
    """Completions are counted, not time: nine of ten attempts that the hosts ran were of use."""
    specs = [poison(title, script) for title, (script, _) in POISON.items()]
    bad = list(await client.tickets.create_all(specs))
    good = list(await client.tickets.create_all([played(f"Good {number}", {}) for number in range(GOOD)]))
    done = await settled(client, good)
    dead = {each.spec.title: each for each in await settled(client, bad)}

    assert tickets.states(done) == ["completed"] * GOOD
    assert [each.attempts for each in done] == [1] * GOOD
    for title, (_, cause) in POISON.items():
        assert (name_of(dead[title], "state"), dead[title].dead_letter) == ("failed", True), title
        assert list(dead[title].causes) == [cause] * 4
    wasted = sum(each.attempts for each in dead.values())
    assert GOOD / (GOOD + wasted) >= SHARE


@pytest.mark.kinds("sim")
async def test_faults_of_hosts_and_of_the_ticket_are_counted_apart(client: Client, tmp_path: Path) -> None:
    """Three VMs lost and three failures leave it one more try of each kind, and that is enough."""
    count = tmp_path / "count"
    script = f"""n=$(cat {count} 2>/dev/null || echo 0)
echo $((n + 1)) > {count}
case $n in 0|2|4) kill -9 $PPID ;; 1|3|5) exit 9 ;; esac
"""
    made = await client.tickets.create(tickets.shell(script))
    done = await tickets.settled(client, made.id)

    assert name_of(done, "state") == "completed"
    assert list(done.causes) == ["vm_lost", "agent_crashed"] * 3


@pytest.mark.kinds("sim")
async def test_a_vm_that_was_lost_is_tried_on_the_other_host(client: Client) -> None:
    made = await client.tickets.create(played("Elsewhere", {"die": True}))
    await tickets.settled(client, made.id)
    hosts = [each.host_id for each in await tickets.attempts(client, made.id)]

    assert len(hosts) == 4
    assert all(before != after for before, after in pairwise(hosts))


@pytest.mark.kinds("sim")
async def test_dead_letters_are_requeued_with_one_command(deployment: Deployment, client: Client) -> None:
    made = await client.tickets.create(played("Gives up", {"exit": 1, "cause": "agent_gave_up"}))
    await tickets.settled(client, made.id)
    before = {each["key"] for each in deployment.swarm("ticket", "list", "--dead-letter", "--json").json}
    shown = deployment.swarm("ticket", "attempts", made.key).out
    counted = deployment.swarm("failures", "--window", "1h").out
    again = deployment.swarm("ticket", "requeue", "--all-dead-letters", "--json").json
    dead = await tickets.settled(client, made.id)

    assert made.key in before
    assert "agent_gave_up" in shown
    assert "says that it cannot do this" in shown
    assert "agent_gave_up" in counted
    assert {each["key"] for each in again} == before
    assert (dead.attempts, list(dead.causes)) == (2, ["agent_gave_up"])
