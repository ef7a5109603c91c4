"""A spec card in, one pull request per feature out, through the command that people use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from swarm_sdk.client import Client
from swarm_sdk.types import TicketState
from tests.e2e.harness import tickets
from tests.e2e.harness.deployment import Deployment
from tests.e2e.harness.upstream import Upstream
from tests.e2e.harness.waiting import eventually
from tests.extent import either

PLAN = {"max_vms": 10}

CARD = Path("examples/shelf.card.json")
DEPENDS = {
    "search": ["collection"],
    "sorting": ["collection"],
    "command": ["search", "sorting"],
    "csv": ["collection"],
    "report": ["csv", "statistics"],
}
TIERS = {"BOOT_TIER_T0", "BOOT_TIER_T1", "BOOT_TIER_T1S", "BOOT_TIER_T2"}


class Job:
    """What `swarm run --json` left, by the ids that the card gives its features."""

    def __init__(self, upstream: Upstream, document: dict[str, Any]) -> None:
        self.upstream = upstream
        self.epic = document["epic"]
        self.tickets = dict(zip(FEATURES, document["tickets"], strict=True))
        by_key = {each["ticket_key"]: each for each in document["pull_requests"]}
        self.pull_requests = {name: by_key[ticket["key"]] for name, ticket in self.tickets.items()}

    def branch(self, name: str) -> str:
        return f"swarm/{self.tickets[name]['key']}/pr"


FEATURES = ("collection", "search", "sorting", "command", "csv", "statistics", "report")


@pytest.fixture(scope="module")
def job(deployment: Deployment, root: Path) -> Job:
    upstream = deployment.upstream("shelf", root / "examples/shelf")
    done = deployment.swarm("run", "--spec", str(root / CARD), "--repo", str(upstream.path), "--follow", "--json")
    return Job(upstream, done.json)


def passes_its_tests(folder: Path) -> bool:
    command = [sys.executable, "-m", "unittest", "discover", "-s", "tests"]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 0


def test_every_feature_is_in_review_after_one_attempt(job: Job) -> None:
    assert {name: (each["state"], each["attempts"]) for name, each in job.tickets.items()} == dict.fromkeys(
        FEATURES, ("TICKET_STATE_IN_REVIEW", 1)
    )


def test_every_feature_has_one_open_pull_request(job: Job) -> None:
    assert {each["state"] for each in job.pull_requests.values()} == {"PULL_REQUEST_STATE_OPEN"}
    assert sorted(each["number"] for each in job.pull_requests.values()) == list(range(1, 8))


def test_each_ran_in_a_vm_of_its_own(job: Job, kind: str) -> None:
    attempts = [each["current_attempt"] for each in job.tickets.values()]

    assert len({each["vm_id"] for each in attempts}) == 7
    if kind == "real":
        assert {each["boot"]["tier"] for each in attempts} <= TIERS
        assert all(int(each["boot"]["boot_us"]) > 0 for each in attempts)
        assert all(int(each["boot"]["ready_us"]) > 0 for each in attempts)


def test_the_pull_request_bases_follow_the_dependencies(job: Job) -> None:
    bases = {name: each["base_branch"] for name, each in job.pull_requests.items()}

    assert bases["collection"] == bases["statistics"] == "main"
    for name in ("search", "sorting", "csv"):
        assert bases[name] == job.branch("collection")
    for name in ("command", "report"):
        assert bases[name] == f"swarm/{job.tickets[name]['key']}/base"


@pytest.mark.parametrize(("name", "others"), DEPENDS.items())
def test_a_dependent_builds_on_its_dependencies(job: Job, name: str, others: list[str]) -> None:
    for other in others:
        assert job.upstream.contains(job.branch(name), job.branch(other))
        assert job.upstream.contains(job.pull_requests[name]["base"], job.branch(other))


def test_a_pull_request_shows_its_own_change_only(job: Job, deployment: Deployment) -> None:
    shown = deployment.swarm("pr", "show", job.tickets["command"]["key"], "--json").json

    assert "shelf/__main__.py" in shown["diff"]
    assert "shelf/search.py" not in shown["diff"]
    assert shown["changed_files"] == 2
    assert shown["additions"] > 0
    assert job.tickets["command"]["spec"]["title"] in shown["title"]
    assert "search and order can be combined" in shown["body"]


def test_every_pull_request_passes_the_tests_of_the_project(job: Job, tmp_path: Path) -> None:
    for name in FEATURES:
        assert passes_its_tests(job.upstream.checkout(tmp_path / name, job.branch(name))), name


async def test_no_ticket_started_before_what_it_depends_on_was_in_review(job: Job, client: Client) -> None:
    times: dict[str, dict[str, float]] = {}
    for name, ticket in job.tickets.items():
        events = await tickets.events(client, ticket["id"], "ticket.state")
        times[name] = {str(tickets.data(each)["to"]): each.time.ToNanoseconds() for each in reversed(events)}

    for name, others in DEPENDS.items():
        assert all(times[other]["in_review"] <= times[name]["assigned"] for other in others)


def test_a_dependent_cannot_be_merged_first(job: Job, deployment: Deployment) -> None:
    done = deployment.swarm("pr", "merge", job.tickets["command"]["key"], "--json", code=5)

    assert done.error["reason"] == "dependency_not_merged"
    assert job.tickets["search"]["key"] in done.error["message"]


async def test_merging_all_completes_the_epic(job: Job, deployment: Deployment, client: Client, tmp_path: Path) -> None:
    keys = [each["key"] for each in job.tickets.values()]
    merged = deployment.swarm("pr", "merge", *keys, "--json").json

    assert [each["ticket_key"] for each in merged] == keys
    assert {each["base_branch"] for each in merged} == {"main"}
    assert {"shelf/__main__.py", "shelf/report.py"} <= job.upstream.files("main")
    assert passes_its_tests(job.upstream.checkout(tmp_path / "main"))
    states = tickets.states(await client.tickets.list(parent_id=job.epic["id"]))
    assert states == ["completed"] * 7

    async def epic_completed() -> bool:
        return (await client.tickets.get(job.epic["id"])).state == TicketState.TICKET_STATE_COMPLETED

    await eventually(epic_completed, "the epic completes")


# Ten at once in real VMs, with faults on top, are in test_parallel.py.
@pytest.mark.parametrize("count", either([5], [5, 10]))
async def test_many_tickets_at_once(deployment: Deployment, client: Client, count: int) -> None:
    upstream = deployment.upstream(f"many{count}", {"README.md": "many\n"})
    project = await tickets.project(client, upstream)
    specs = [tickets.shell(f"echo {n} > {n}.txt", title=f"Number {n}", project_id=project.id) for n in range(count)]
    made = await client.tickets.create_all(specs)
    done = [await tickets.settled(client, each.id) for each in made]

    assert tickets.states(done) == ["in_review"] * count
    assert len({each.current_attempt.vm_id for each in done}) == count
    assert [each.attempts for each in done] == [1] * count
    for number, each in enumerate(done):
        assert upstream.read(f"{number}.txt", f"swarm/{each.key}/pr") == str(number)
