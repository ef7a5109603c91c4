"""What can happen to one ticket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swarm_sdk.client import Client
from swarm_sdk.errors import FailedPreconditionError
from swarm_sdk.types import PullRequestState, Ticket, TicketSpec, name_of
from tests.e2e.harness import inventory, tickets
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.waiting import eventually

PLAN = {"control": ("--retry-delays", "1")}
ASK = """#!/bin/sh
echo '{"type": "progress", "text": "half", "data": {"fraction": 0.5}}'
echo '{"type": "question", "text": "Which colour?"}'
read -r answer
echo "the answer was $answer"
echo 'a line on stderr' >&2
test -r "$SWARM_TICKET" && test -r "$SWARM_INPUT" && echo "input $(cat "$SWARM_INPUT")"
"""
# Put together here, so that the repository holds nothing that looks like a secret.
KEY_SCRIPT = 'printf -- "-----BEGIN %s PRIVATE KEY-----\\nMIIEow\\n" RSA > key.pem'


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """An agent in another language, in a folder."""
    manifest = {
        "name": "asker",
        "version": "1.0.0",
        "description": "Asks a question",
        "command": ["./run"],
        "input_schema": {"type": "object", "properties": {"size": {"type": "integer"}}, "additionalProperties": False},
    }
    folder = tmp_path / "asker"
    folder.mkdir()
    (folder / "agent.json").write_text(json.dumps(manifest))
    (folder / "run").write_text(ASK)
    (folder / "run").chmod(0o755)
    return folder


async def test_echo_without_repository_completes(client: Client) -> None:
    made = await client.tickets.create(TicketSpec(title="Say hello", agent="echo"))
    done = await tickets.settled(client, made.id)

    assert name_of(done, "state") == "completed"
    assert await tickets.path(client, made.id) == ["ready", "assigned", "running", "completed"]
    assert done.pull_request_id == ""


async def test_echo_in_a_repository_leaves_a_pull_request(deployment: Deployment, client: Client) -> None:
    upstream = deployment.upstream("echo", {"README.md": "echo\n"})
    project = await tickets.project(client, upstream)
    made = await client.tickets.create(TicketSpec(title="Say hello", agent="echo", project_id=project.id))
    done = await tickets.settled(client, made.id)

    assert name_of(done, "state") == "in_review"
    assert upstream.read("README.md", f"swarm/{done.key}/pr") == "echo"
    assert len(upstream.files(f"swarm/{done.key}/pr")) == 2
    assert upstream.files("main") == {"README.md"}


async def test_nothing_to_change_needs_no_pull_request(deployment: Deployment, client: Client) -> None:
    upstream = deployment.upstream("same", {"README.md": "same\n"})
    project = await tickets.project(client, upstream)
    made = await client.tickets.create(tickets.shell("true", project_id=project.id))
    done = await tickets.settled(client, made.id)

    assert name_of(done, "state") == "completed"
    assert upstream.branches().keys() == {"main"}


async def test_a_project_may_complete_when_the_pull_request_opens(deployment: Deployment, client: Client) -> None:
    upstream = deployment.upstream("opened", {"README.md": "opened\n"})
    project = await tickets.project(client, upstream, done_when="opened")
    made = await client.tickets.create(tickets.shell("date > now", project_id=project.id))
    done = await tickets.reached(client, made.id, "completed", "failed")

    assert name_of(done, "state") == "completed"
    pull_request = await client.pull_requests.get(done.key)
    assert pull_request.state == PullRequestState.PULL_REQUEST_STATE_OPEN


async def test_a_closed_pull_request_fails_its_ticket(deployment: Deployment, client: Client) -> None:
    upstream = deployment.upstream("closed", {"README.md": "closed\n"})
    project = await tickets.project(client, upstream)
    made = await client.tickets.create(tickets.shell("date > now", project_id=project.id))
    await tickets.settled(client, made.id)
    await client.pull_requests.close(made.key)

    assert name_of(await client.tickets.get(made.id), "state") == "failed"
    assert upstream.files("main") == {"README.md"}


async def test_failing_tests_of_the_project_fail_the_attempt(deployment: Deployment, client: Client) -> None:
    upstream = deployment.upstream("strict", {"check.sh": "#!/bin/sh\necho checking\ntest ! -e broken\n"})
    project = await tickets.project(client, upstream, test_command="./check.sh")
    made = await client.tickets.create(tickets.shell("touch broken", project_id=project.id))

    async def first_attempt_over() -> bool:
        return bool((await tickets.attempts(client, made.id))[:1]) and bool((await client.tickets.get(made.id)).causes)

    await eventually(first_attempt_over, "the first attempt ends")
    ticket = await client.tickets.cancel(made.id, "seen enough")

    assert list(ticket.causes)[:1] == ["tests_failed"]
    assert "checking" in await tickets.logs(client, made.id)
    assert upstream.branches().keys() == {"main"}


async def test_cancelling_ends_the_vm(deployment: Deployment, client: Client) -> None:
    made = await client.tickets.create(tickets.shell("echo begun; sleep 600"))
    running = await tickets.reached(client, made.id, "running")
    vm_id = running.current_attempt.vm_id
    pid = deployment.vm_pid(vm_id)
    cancelled = await client.tickets.cancel(made.id, "changed our mind")

    assert name_of(cancelled, "state") == "cancelled"

    async def gone() -> bool:
        return not inventory.alive(pid) and vm_id not in {vm.id for vm in await client.vms.list()}

    await eventually(gone, "the VM is gone")
    assert name_of((await tickets.attempts(client, made.id))[-1], "state") == "cancelled"


async def test_a_cancelled_ticket_can_be_retried(client: Client) -> None:
    made = await client.tickets.create(tickets.shell("true"), hold=True)
    await client.tickets.cancel(made.id)
    await client.tickets.retry(made.id)

    assert name_of(await tickets.settled(client, made.id), "state") == "completed"


async def test_a_dependent_of_a_cancelled_ticket_is_blocked(client: Client) -> None:
    first = await client.tickets.create(tickets.shell("true"), hold=True)
    second = await client.tickets.create(tickets.shell("true", depends_on=[first.key]))
    await client.tickets.cancel(first.id)
    blocked = await client.tickets.get(second.id)

    assert name_of(blocked, "state") == "blocked"
    assert first.key in blocked.state_reason


async def test_a_question_waits_for_its_answer(deployment: Deployment, client: Client, agent: Path) -> None:
    with_question = deployment.swarm("agent", "list", "--json")
    assert {"echo", "shell"} <= {each["name"] for each in with_question.json}
    from swarm_cli.commands.agent import bundle  # noqa: PLC0415 - what `swarm agent test` sends

    published = await client.registry.publish(bundle(agent))
    spec = TicketSpec(title="Ask", agent=f"{published.name}@{published.version}")
    spec.input.update({"size": 3})
    made = await client.tickets.create(spec)
    waiting = await tickets.reached(client, made.id, "waiting", "failed")

    assert name_of(waiting, "state") == "waiting"
    assert waiting.question == "Which colour?"
    deployment.swarm("ticket", "answer", made.key, 'deep "blue" [bold]')
    done = await tickets.settled(client, made.id)
    said = await tickets.logs(client, made.id)

    assert name_of(done, "state") == "completed", await tickets.story(client, made.id)
    assert "the answer was" in said
    assert "blue" in said
    assert "a line on stderr" in said
    assert '"size": 3' in said or '"size":3' in said
    assert (await tickets.path(client, made.id))[-4:] == ["running", "waiting", "running", "completed"]


async def test_answering_what_was_not_asked_is_refused(client: Client) -> None:
    made = await client.tickets.create(tickets.shell("true"), hold=True)

    with pytest.raises(FailedPreconditionError):
        await client.tickets.answer(made.id, "blue")
    await client.tickets.cancel(made.id)


async def changed(client: Client, script: str, project_id: str) -> Ticket:
    made = await client.tickets.create(tickets.shell(script, project_id=project_id))
    return await tickets.settled(client, made.id)


async def test_a_conflicting_merge_names_the_paths_and_changes_nothing(deployment: Deployment, client: Client) -> None:
    upstream = deployment.upstream("conflict", {"a.txt": "a\n", "b.txt": "b\n"})
    project = await tickets.project(client, upstream)
    first = await changed(client, "echo one > a.txt", project.id)
    second = await changed(client, "echo two > a.txt; echo two > b.txt", project.id)
    deployment.swarm("pr", "merge", first.key)
    before = upstream.branches()
    done = deployment.swarm("pr", "merge", second.key, "--json", code=5)

    assert done.error["reason"] == "merge_conflict"
    assert "a.txt" in done.error["message"]
    assert "b.txt" not in done.error["message"]
    assert upstream.branches() == before
    assert name_of(await client.tickets.get(second.id), "state") == "in_review"


async def test_a_dependent_of_conflicting_tickets_gets_the_conflict_as_its_task(
    deployment: Deployment, client: Client
) -> None:
    upstream = deployment.upstream("diamond", {"a.txt": "a\n"})
    project = await tickets.project(client, upstream)
    one = await changed(client, "echo one > a.txt", project.id)
    two = await changed(client, "echo two > a.txt", project.id)
    script = "cat a.txt; echo settled > a.txt; git add a.txt"
    made = await client.tickets.create(tickets.shell(script, project_id=project.id, depends_on=[one.key, two.key]))
    done = await tickets.settled(client, made.id)

    assert name_of(done, "state") == "in_review", await tickets.story(client, made.id)
    assert upstream.read("a.txt", f"swarm/{done.key}/pr") == "settled"
    assert upstream.contains(f"swarm/{done.key}/pr", f"swarm/{one.key}/pr")
    assert upstream.contains(f"swarm/{done.key}/pr", f"swarm/{two.key}/pr")


async def test_a_push_with_a_secret_is_refused_and_the_agent_told(deployment: Deployment, client: Client) -> None:
    upstream = deployment.upstream("secret", {"README.md": "secret\n"})
    project = await tickets.project(client, upstream)
    made = await client.tickets.create(tickets.shell(KEY_SCRIPT, project_id=project.id))

    async def refused() -> bool:
        return bool((await client.tickets.get(made.id)).causes)

    await eventually(refused, "the first attempt ends")
    ticket = await client.tickets.cancel(made.id)
    said = "\n".join(str(tickets.data(each)) for each in await tickets.events(client, made.id))

    assert list(ticket.causes)[:1] == ["checks_refused"]
    assert "key.pem" in said
    assert "MIIEow" not in said
    assert upstream.branches().keys() == {"main"}


def test_agent_test_runs_a_folder_once(deployment: Deployment, tmp_path: Path) -> None:
    folder = tmp_path / "greeter"
    folder.mkdir()
    manifest = {
        "name": "greeter",
        "version": "0.1.0",
        "description": "Greets",
        "command": ["./run"],
        "input_schema": {},
    }
    (folder / "agent.json").write_text(json.dumps(manifest))
    (folder / "run").write_text("#!/bin/sh\necho hello from sh\nexit $(grep -c fail $SWARM_INPUT)\n")
    (folder / "run").chmod(0o755)
    good = deployment.swarm("agent", "test", str(folder))

    assert "hello from sh" in good.out
    assert "greeter" in {each["name"] for each in deployment.swarm("agent", "list", "--json").json}


async def test_logs_are_followed_to_the_end(deployment: Deployment, client: Client) -> None:
    made = await client.tickets.create(tickets.shell("for n in 1 2 3; do echo line $n; sleep 0.2; done"))
    done = deployment.swarm("ticket", "logs", made.key, "--follow", "--json")
    words = [json.loads(line)["data"]["text"] for line in done.out.splitlines()]

    assert [word for word in words if word.startswith("line ")] == ["line 1", "line 2", "line 3"]


@pytest.fixture(scope="module", autouse=True)
def doomed(kind: str, deployment: Deployment) -> str:
    """Key of a ticket that fails each time. Filed first and looked at last, so that nobody waits for it."""
    if kind == "real":
        return ""
    script = json.dumps({"script": "echo attempt of mine; echo oh no >&2; exit 3"})
    made = deployment.swarm("ticket", "create", "Doomed", "--agent", "shell", "--input", script, "--json")
    return str(made.json["key"])


@pytest.mark.kinds("sim")
async def test_a_failing_script_ends_in_the_dead_letter_with_its_logs(client: Client, doomed: str) -> None:
    done = await tickets.settled(client, doomed)
    attempts = await tickets.attempts(client, doomed)
    said = (await tickets.logs(client, doomed)).splitlines()

    assert name_of(done, "state") == "failed"
    assert done.dead_letter
    assert list(done.causes) == ["agent_crashed"] * 4
    assert [each.number for each in attempts] == [1, 2, 3, 4]
    assert [each.exit_code for each in attempts] == [3] * 4
    assert len({each.fence for each in attempts}) == 4
    assert said.count("attempt of mine") == 4
    assert said.count("oh no") == 4
