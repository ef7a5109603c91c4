"""Processes are killed at the worst moment; the work is done all the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from swarm_sdk.client import Client
from swarm_sdk.types import Ticket, name_of
from tests.e2e.harness import cli, inventory, tickets
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.upstream import Upstream
from tests.e2e.harness.waiting import eventually, until

# Runs until the test lets it go on, or until it is killed; each attempt leaves a line.
SLOW = "echo begun; sleep {seconds}; echo done > done.txt"


@pytest.fixture
async def upstream(deployment: Deployment, request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    name = "".join(char for char in request.node.name if char.isalnum())
    yield deployment.upstream(name, {"README.md": "faults\n"})
    if not deployment.control.alive():
        deployment.control.start()
    if not deployment.host.alive():
        deployment.host.start()
    await deployment.until_served()
    await deployment.until_online()


async def running(client: Client, upstream: Upstream, seconds: float) -> Ticket:
    """A ticket whose agent is at work."""
    project = await tickets.project(client, upstream)
    made = await client.tickets.create(tickets.shell(SLOW.format(seconds=seconds), project_id=project.id))
    await tickets.reached(client, made.id, "running")

    async def begun() -> bool:
        return "begun" in await tickets.logs(client, made.id)

    await eventually(begun, "the agent has begun")
    return await client.tickets.get(made.id)


async def check_done(client: Client, upstream: Upstream, ident: str) -> Ticket:
    """The ticket has come to its one pull request."""
    done = await tickets.settled(client, ident)
    assert name_of(done, "state") == "in_review", await tickets.story(client, ident)
    assert upstream.read("done.txt", f"swarm/{done.key}/pr") == "done"
    assert len(await client.pull_requests.list(project_id=done.spec.project_id)) == 1
    return done


async def test_a_killed_vm_is_replaced(deployment: Deployment, client: Client, upstream: Upstream) -> None:
    ticket = await running(client, upstream, 3)
    os.kill(deployment.vm_pid(ticket.current_attempt.vm_id), signal.SIGKILL)
    done = await check_done(client, upstream, ticket.id)
    attempts = await tickets.attempts(client, ticket.id)

    assert [name_of(each, "state") for each in attempts] == ["lost", "succeeded"]
    assert attempts[0].cause == "vm_lost"
    assert attempts[0].vm_id != attempts[1].vm_id
    assert attempts[1].fence > attempts[0].fence
    assert done.attempts == 2


async def test_a_killed_host_adopts_or_ends_its_vms(deployment: Deployment, client: Client, upstream: Upstream) -> None:
    ticket = await running(client, upstream, 5)
    vm_id = ticket.current_attempt.vm_id
    pid = deployment.vm_pid(vm_id)
    deployment.host.kill()
    deployment.host.start()
    await deployment.until_online()
    done = await check_done(client, upstream, ticket.id)
    attempts = await tickets.attempts(client, ticket.id)

    if len(attempts) == 1:  # adopted: it ended as if nothing had happened
        assert attempts[0].vm_id == vm_id
    else:
        assert [name_of(each, "state") for each in attempts] == ["lost", "succeeded"]
    assert done.fence == attempts[-1].fence
    until(lambda: not inventory.alive(pid), "the VM has ended")


async def test_a_killed_control_plane_forgets_nothing(
    deployment: Deployment, client: Client, upstream: Upstream
) -> None:
    ticket = await running(client, upstream, 4)
    before = await tickets.path(client, ticket.id)
    deployment.control.kill()
    deployment.control.start()
    await deployment.until_served()
    await deployment.until_online()
    await check_done(client, upstream, ticket.id)

    assert (await tickets.path(client, ticket.id))[: len(before)] == before
    assert len(await tickets.attempts(client, ticket.id)) == 1


async def test_a_result_made_while_the_control_plane_was_away_is_kept(
    deployment: Deployment, client: Client, upstream: Upstream
) -> None:
    ticket = await running(client, upstream, 1)
    deployment.control.kill()
    branch = f"swarm/{ticket.key}/a{ticket.fence}"
    until(lambda: branch in upstream.branches(), "the attempt pushes although the control plane is away")
    deployment.control.start()
    await deployment.until_served()
    await check_done(client, upstream, ticket.id)

    assert len(await tickets.attempts(client, ticket.id)) == 1


async def test_everything_killed_at_once_resumes(deployment: Deployment, client: Client, upstream: Upstream) -> None:
    ticket = await running(client, upstream, 3)
    for process in deployment.processes:
        process.kill()
    for process in deployment.processes:
        process.start()
        await deployment.until_served()
    await deployment.until_online()

    await check_done(client, upstream, ticket.id)


async def test_a_terminated_host_leaves_no_vm_and_its_tickets_resume(
    deployment: Deployment, client: Client, upstream: Upstream
) -> None:
    ticket = await running(client, upstream, 3)
    pid = deployment.vm_pid(ticket.current_attempt.vm_id)

    assert deployment.host.terminate() == 0
    assert not inventory.alive(pid)
    assert not deployment.inventory().vmms

    deployment.host.start()
    await check_done(client, upstream, ticket.id)


@pytest.mark.kinds("sim")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_following_can_be_interrupted_and_the_work_goes_on(
    deployment: Deployment, client: Client, upstream: Upstream, tmp_path: Path, number: signal.Signals
) -> None:
    card = tmp_path / "card.json"
    feature = {"title": "Slow", "agent": "shell", "input": {"script": SLOW.format(seconds=3)}}
    card.write_text(json.dumps({"name": number.name, "features": [feature]}))
    arguments = ("run", "--spec", str(card), "--repo", str(upstream.path), "--follow")
    child = cli.start(*arguments, environment=deployment.environment)

    async def filed() -> list[Ticket]:
        projects = [each.id for each in await client.projects.list() if each.spec.repository == str(upstream.path)]
        return list(await client.tickets.list(project_id=projects[0]))[-1:] if projects else []

    (made,) = await eventually(filed, "the ticket is filed")
    await tickets.reached(client, made.id, "running")
    child.send_signal(number)
    out, err = child.communicate(timeout=60)

    assert child.returncode == 128 + number, (out, err)
    assert "Traceback" not in err
    assert "interrupted" in err
    await check_done(client, upstream, made.id)


@pytest.mark.kinds("sim")
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("controlplane", "assigned_before_deliver"),
        ("controlplane", "finished_before_commit"),
        ("controlplane", "published_before_recorded"),
        ("controlplane", "link_after_commit"),
        ("hostd", "attempt_after_acquire"),
        ("hostd", "attempt_after_start"),
        ("hostd", "push_before_upstream"),
        ("hostd", "push_after_upstream"),
        ("hostd", "attempt_before_finish"),
        ("hostd", "attempt_after_finish"),
    ],
)
async def test_a_crash_at_the_worst_place_loses_and_doubles_nothing(
    deployment: Deployment, client: Client, upstream: Upstream, name: str, place: str
) -> None:
    process = next(each for each in deployment.processes if each.name == name)
    project = await tickets.project(client, upstream)
    assert process.terminate() == 0
    process.start(SWARM_FAILPOINT=f"{place}=kill")
    await deployment.until_served()
    spec = tickets.shell(SLOW.format(seconds=0), project_id=project.id)
    made = await client.tickets.create(spec, key=f"crash-{place}")

    assert process.until_ended() == -signal.SIGKILL
    process.start()
    await deployment.until_served()
    await check_done(client, upstream, made.id)
    assert len(await client.tickets.list(project_id=project.id)) == 1


@pytest.mark.kinds("sim")
async def test_a_repeated_request_has_one_effect(client: Client) -> None:
    first = await client.tickets.create(tickets.shell("true"), hold=True, key="the-same-key")
    again = await client.tickets.create(tickets.shell("true"), hold=True, key="the-same-key")

    assert again.id == first.id
    await client.tickets.cancel(first.id)


@pytest.mark.kinds("sim")
def test_a_second_process_on_the_same_state_is_refused(deployment: Deployment) -> None:
    for process in deployment.processes:
        done = subprocess.run(
            process.argv, env=process.environment, check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode not in {0, None}
        assert "Traceback" not in done.stderr
        assert str(process.pid) in done.stderr or "in use" in done.stderr
