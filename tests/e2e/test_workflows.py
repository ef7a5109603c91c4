"""Tickets that the steps of a workflow run, in simulated and in real VMs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from swarm_sdk.client import Client
from swarm_sdk.errors import FailedPreconditionError
from swarm_sdk.types import TicketSpec, WorkflowRun, name_of
from tests.e2e.harness import tickets
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.waiting import eventually

PREPARE = """
echo red > colour.txt
echo '{"type": "output", "data": {"colour": "red", "lines": 1}}'
echo prepared
"""
# A later step goes by what an earlier one put out, not by the checkout alone.
VERIFY = """
steps='import json, os; print(json.load(open(os.environ["SWARM_STEPS"]))["prepare"]["outputs"]["colour"])'
wanted=$(python3 -c "$steps")
test "$wanted" = "$(cat colour.txt)"
echo "{\\"type\\": \\"output\\", \\"data\\": {\\"verified\\": \\"$wanted\\"}}"
echo "verified $wanted"
"""


def spec(prepare: str, verify: str, **more: Any) -> TicketSpec:
    given = {"prepare": {"script": prepare}, "verify": {"script": verify}}
    return ParseDict({"title": "Three steps", "workflow": "script", "input": given} | more, TicketSpec())


def steps(run: WorkflowRun) -> list[tuple[str, str]]:
    return [(step.name, name_of(step, "state")) for step in run.steps]


async def runs_of(client: Client, ident: str) -> Sequence[WorkflowRun]:
    return await client.registry.runs(ident)


async def test_three_steps_share_a_checkout_and_hand_on_their_outputs(deployment: Deployment, client: Client) -> None:
    upstream = deployment.upstream("steps", {"README.md": "steps\n"})
    project = await tickets.project(client, upstream, test_command="grep -q red colour.txt")
    made = await client.tickets.create(spec(PREPARE, VERIFY, project_id=project.id))
    done = await tickets.settled(client, made.id)

    assert name_of(done, "state") == "in_review", await tickets.story(client, made.id)
    assert (done.spec.workflow, name_of(done, "execution_mode")) == ("script@1.0.0", "workflow")
    assert upstream.read("colour.txt", f"swarm/{done.key}/pr") == "red"
    assert 'verify succeeded: verified red {"verified": "red"}' in await tickets.logs(client, made.id)
    assert "workflow script@1.0.0" in (await client.pull_requests.get(done.key)).body
    (run,) = await runs_of(client, done.key)
    assert name_of(run, "state") == "succeeded"
    assert run.attempt_id == done.current_attempt.id
    assert steps(run) == [("prepare", "succeeded"), ("verify", "succeeded"), ("report", "succeeded")]
    assert MessageToDict(run.steps[0].outputs) == {"colour": "red", "lines": 1}
    assert run.steps[1].summary == "verified red"
    assert all(step.started_at.ToNanoseconds() <= step.finished_at.ToNanoseconds() for step in run.steps)
    assert await client.registry.run(run.id) == run
    shown = deployment.swarm("ticket", "show", done.key).out
    assert "prepare" in shown
    assert "verified red" in shown


async def test_a_failing_step_is_named_and_a_retry_makes_a_new_run(client: Client) -> None:
    made = await client.tickets.create(spec(PREPARE, "echo not good; exit 4"))

    async def twice() -> bool:
        return len(await runs_of(client, made.id)) > 1

    await eventually(twice, "the second attempt runs", patience_s=tickets.PATIENCE_S)
    cancelled = await client.tickets.cancel(made.id, "seen enough")
    first, *later = await runs_of(client, made.id)
    attempts = await tickets.attempts(client, made.id)

    assert name_of(first, "state") == "failed"
    assert steps(first) == [("prepare", "succeeded"), ("verify", "failed"), ("report", "skipped")]
    assert first.reason == "step verify: the agent ended with status 4: not good"
    assert first.steps[1].exit_code == 4
    assert [attempts[0].cause, attempts[0].reason] == ["agent_crashed", first.reason]
    assert first.attempt_id == attempts[0].id != later[0].attempt_id
    assert list(cancelled.causes)[:1] == ["agent_crashed"]
    assert {name_of(run, "state") for run in later} <= {"failed", "cancelled"}


@pytest.mark.kinds("sim")
async def test_a_cancelled_ticket_closes_its_run(client: Client) -> None:
    made = await client.tickets.create(spec("echo begun", "sleep 600"))

    async def in_verify() -> bool:
        return ("verify", "running") in [step for run in await runs_of(client, made.id) for step in steps(run)]

    await eventually(in_verify, "the second step runs", patience_s=tickets.PATIENCE_S)
    await client.tickets.cancel(made.id, "changed our mind")
    (run,) = await runs_of(client, made.id)
    assert (name_of(run, "state"), run.reason) == ("cancelled", "changed our mind")
    assert steps(run) == [("prepare", "succeeded"), ("verify", "cancelled"), ("report", "skipped")]


@pytest.mark.kinds("sim")
async def test_a_single_ticket_has_no_run(client: Client) -> None:
    made = await client.tickets.create(tickets.shell("true"))
    done = await tickets.settled(client, made.id)
    assert name_of(done, "execution_mode") == "single"
    assert list(await runs_of(client, made.id)) == []


@pytest.mark.kinds("sim")
async def test_work_whose_image_no_host_has_is_refused(deployment: Deployment, client: Client) -> None:
    assert {each.name for each in await client.registry.list()} >= {"echo", "shell", "claude", "claude-code"}
    wanted = {"claude": TicketSpec(title="A", agent="claude"), "claude-code": TicketSpec(title="B", workflow="feature")}
    for image, refused in wanted.items():
        with pytest.raises(FailedPreconditionError) as error:
            await client.tickets.create(refused)
        assert f"no host has the image {image}" in error.value.message
        assert error.value.reason == "image_missing"
    assert "claude-code (missing)" in deployment.swarm("workflow", "list").out


@pytest.mark.kinds("sim")
async def test_an_image_that_was_built_lets_its_tickets_in(client: Client) -> None:
    async for _ in client.hosts.build_image("claude"):
        pass

    async def present() -> bool:
        return (await client.registry.get("claude")).image_present

    await eventually(present, "the registry knows of the image")
    made = await client.tickets.create(TicketSpec(title="Claude", agent="claude"), hold=True)
    assert name_of(made, "state") == "pending"


@pytest.mark.kinds("sim")
def test_a_new_agent_runs_at_once(deployment: Deployment, tmp_path: Path) -> None:
    folder = str(tmp_path / "greeter")
    deployment.swarm("agent", "new", "fresh-greeter", folder)
    done = deployment.swarm("agent", "test", folder, "--input", '{"whom": "you"}')
    assert "after 0 steps" in done.out
    published = deployment.swarm("agent", "publish", folder, "--json").json
    assert (published["name"], published["version"]) == ("fresh-greeter", "0.1.0")


@pytest.mark.kinds("sim")
def test_a_workflow_is_run_from_the_command_line(deployment: Deployment) -> None:
    upstream = deployment.upstream("cli", {"README.md": "cli\n"})
    given = json.dumps({"change": {"script": "echo x > x"}, "note": {"message": "x was added"}})
    argv = ["workflow", "run", "script-and-note", "--repo", str(upstream.path), "--title", "Add x", "--input", given]
    done = deployment.swarm(*argv, "--follow", "--json").json
    assert done["ticket"]["state"] == "TICKET_STATE_IN_REVIEW"
    assert [step["state"] for step in done["runs"][0]["steps"]] == ["STEP_STATE_SUCCEEDED"] * 2
    assert upstream.read("NOTES.md", f"swarm/{done['ticket']['key']}/pr") == "x was added"
