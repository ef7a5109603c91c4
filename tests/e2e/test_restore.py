"""I19 with real processes: back to a backup in the middle of the work; each ticket still gets its one pull request."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm_sdk.client import Client
from swarm_sdk.types import name_of
from tests.e2e.harness import tickets
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.waiting import eventually, until

pytestmark = pytest.mark.kinds("sim")


async def test_the_work_goes_on_from_a_backup(deployment: Deployment, tmp_path: Path) -> None:
    upstream = deployment.upstream("restore", {"README.md": "restore\n"})
    file = tmp_path / "swarm.tar"
    async with deployment.client() as client:
        project = await tickets.project(client, upstream)

        def spec(number: int, seconds: float) -> object:
            return tickets.shell(f"sleep {seconds}; echo {number} > {number}.txt", project_id=project.id)

        done = await client.tickets.create(spec(0, 0))  # type: ignore[arg-type]
        await tickets.settled(client, done.id)
        made = await client.tickets.create_all([spec(n, 2) for n in range(1, 4)])  # type: ignore[misc]
        for each in made:
            await tickets.reached(client, each.id, "running")
        deployment.swarm("backup", str(file))
        shown = deployment.swarm("backup", "verify", str(file), "--json").json["manifest"]
        assert shown["rows"]["ticket"] == 4
        # What happens now is lost: results, pull requests, and a ticket that was filed later.
        never = await client.tickets.create(spec(9, 0))  # type: ignore[arg-type]
        await tickets.settled(client, never.id)
        assert name_of(await tickets.settled(client, made[0].id), "state") == "in_review"
    lost = upstream.branches()
    assert f"swarm/{never.key}/pr" in lost
    deployment.control.kill()
    refused = deployment.swarm("restore", str(file), code=5)
    assert "--force" in refused.err
    told = deployment.swarm("restore", str(file), "--force", "--json").json
    assert told["leases"] == 3
    deployment.control.start()
    await deployment.until_served()
    await deployment.until_online()
    async with deployment.client() as client:
        await check(client, deployment, project.id, [done.id, *(each.id for each in made)])
        assert (await client.coordinator.status()).epoch == told["epoch"]
        after = await client.tickets.create(spec(10, 0))  # type: ignore[arg-type]
        await tickets.settled(client, after.id)
        assert after.key != never.key
    now = upstream.branches()
    attempts = {name: commit for name, commit in lost.items() if not name.endswith("/pr")}
    assert {name: now[name] for name in attempts} == attempts, "a branch of the lost time line was written again"
    assert now[f"swarm/{never.key}/pr"] == lost[f"swarm/{never.key}/pr"]


async def check(client: Client, deployment: Deployment, project_id: str, idents: list[str]) -> None:
    for ident in idents:
        ticket = await tickets.settled(client, ident)
        assert name_of(ticket, "state") == "in_review", await tickets.story(client, ident)
        attempts = await tickets.attempts(client, ident)
        assert [name_of(each, "state") for each in attempts].count("succeeded") == 1
        assert {each.cause for each in attempts} <= {"", "restored"}
    found = await client.pull_requests.list(project_id=project_id)
    assert sorted(each.ticket_id for each in found) == sorted(idents)

    async def ended() -> bool:
        return not await client.vms.list()

    await eventually(ended, "the VMs of the lost time line are gone")
    until(lambda: not deployment.inventory().vmms, "and so are their processes")
