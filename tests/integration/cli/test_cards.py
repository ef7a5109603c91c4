"""Spec cards with faults: each is named by its JSON pointer, and nothing is created."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness.upstream import Upstream
from tests.integration.cli.conftest import Swarm


@pytest.fixture
def swarm(in_process: Swarm) -> Swarm:
    """So many runs are quicker without a process each."""
    return in_process


def feature(**more: Any) -> dict[str, Any]:
    return {"title": "One", "agent": "echo"} | more


def card(*features: Any, **more: Any) -> dict[str, Any]:
    return {"name": "card", "features": list(features) or [feature()]} | more


BAD = [
    ({}, "/name"),
    ({}, "/features"),
    (card(name=""), "/name"),
    (card(name=5), "/name"),
    (card(name="n" * 201), "/name"),
    (card(name="\x00"), "/name"),
    (card(name="\x1b[31m"), "/name"),
    (card(name="a\u202eb"), "/name"),
    (card(frobnicate=1), "/frobnicate"),
    (card(features=[]), "/features"),
    (card(features={}), "/features"),
    (card("one"), "/features/0"),
    (card(feature(title="")), "/features/0/title"),
    (card(feature(title="t" * 501)), "/features/0/title"),
    (card(feature(title="x" * (1 << 20))), "/features/0/title"),
    (card({"agent": "echo"}), "/features/0/title"),
    (card(feature(titel="x")), "/features/0/titel"),
    (card(feature(id="-x")), "/features/0/id"),
    (card(feature(id="a/b")), "/features/0/id"),
    (card(feature(), feature()), "/features/1/title"),
    (card(feature(id="a"), feature(title="Two", id="a")), "/features/1/id"),
    (card(feature(priority=10)), "/features/0/priority"),
    (card(feature(priority=-1)), "/features/0/priority"),
    (card(feature(priority=1.5)), "/features/0/priority"),
    (card(feature(priority=True)), "/features/0/priority"),
    (card(feature(timeout_s=1e18)), "/features/0/timeout_s"),
    (card(feature(acceptance_criteria=["x"] * 10_000)), "/features/0/acceptance_criteria"),
    (card(feature(acceptance_criteria="x")), "/features/0/acceptance_criteria"),
    (card(feature(depends_on=["nobody"])), "/features/0/depends_on/0"),
    (card(feature(depends_on=["One"])), "/features/0/depends_on/0"),
    (card(feature(depends_on=["Two"]), feature(title="Two", depends_on=["One"])), "/features/1/depends_on/0"),
    (card(feature(input=[])), "/features/0/input"),
    (card(feature(input={"unknown": 1})), "/features/0/input"),
    (card(feature(agent="shell")), "/features/0/input"),
    (card(feature(agent="shell", input={"script": ""})), "/features/0/input/script"),
    (card(feature(agent="nobody")), "/features/0"),
    (card(feature(resources={"vcpus": 33})), "/features/0/resources/vcpus"),
    (card(feature(resources={"isolation": "kvm"})), "/features/0/resources/isolation"),
    (card(feature(resources={"labels": {"": "x"}})), "/features/0/resources/labels/"),
    (card(feature(resources={"gpu": 1})), "/features/0/resources/gpu"),
    *((card(default_branch=name), "/default_branch") for name in (
        "--upload-pack=x", "refs/../x", "a..b", "a.lock", "@{", "a b", "a~1", "HEAD",
    )),
]  # fmt: skip

BAD_REPOSITORIES = [
    "-oProxyCommand=x",
    "ext::sh -c x",
    "ssh://-oProxyCommand=x/a",
    "ssh://host/-x\x00",
    "http://169.254.169.254/latest",
    "http://[::ffff:169.254.169.254]/a",
    "https://user:password@host/a.git",
    "ftp://host/a",
    "host:a.git",
    "file://host/a",
    "https://host/a?b",
    "https:///a",
]


def run(swarm: Swarm, folder: Path, content: dict[str, Any], repository: str) -> list[str]:
    """Pointers of the faults; the card is refused, and nothing exists that did not before."""
    path = folder / "card.json"
    path.write_text(json.dumps(content))
    before = len(swarm("ticket", "list", "--json").json)
    done = swarm("run", "--spec", str(path), f"--repo={repository}", "--json", code=2)

    assert done.out == ""
    assert done.error["code"] == "INVALID_ARGUMENT"
    assert "Traceback" not in done.err
    assert len(swarm("ticket", "list", "--json").json) == before
    return [each["field"] for each in done.error["violations"]]


@pytest.mark.parametrize(("content", "field"), BAD, ids=[f"{number}{field}" for number, (_, field) in enumerate(BAD)])
def test_a_fault_is_named_by_its_pointer(
    swarm: Swarm, tmp_path: Path, upstream: Upstream, content: dict[str, Any], field: str
) -> None:
    found = run(swarm, tmp_path, content, str(upstream.path))

    assert any(each == field or each.startswith(f"{field}/") for each in found), found


@pytest.mark.parametrize("repository", BAD_REPOSITORIES)
def test_a_repository_that_is_none_is_refused(swarm: Swarm, tmp_path: Path, repository: str) -> None:
    content = card() | {"repository": repository}

    assert "/repository" in run(swarm, tmp_path, content, "")


def test_all_faults_are_told_at_once(swarm: Swarm, tmp_path: Path, upstream: Upstream) -> None:
    content = card(feature(title=""), feature(title="Two", priority=10), surplus=1)
    found = run(swarm, tmp_path, content, str(upstream.path))

    assert {"/surplus", "/features/0/title", "/features/1/priority"} <= set(found)


def test_a_circle_is_told_with_its_path(swarm: Swarm, tmp_path: Path, upstream: Upstream) -> None:
    path = tmp_path / "card.json"
    circle = [feature(title=one, depends_on=[other]) for one, other in (("A", "B"), ("B", "C"), ("C", "A"))]
    path.write_text(json.dumps(card(*circle)))
    done = swarm("run", "--spec", str(path), "--repo", str(upstream.path), code=2)

    assert all(name in done.err for name in "ABC")
    assert "/depends_on/0" in done.err


def test_a_very_deep_input_is_refused(swarm: Swarm, tmp_path: Path, upstream: Upstream) -> None:
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"a": deep}
    run(swarm, tmp_path, card(feature(input=deep)), str(upstream.path))
