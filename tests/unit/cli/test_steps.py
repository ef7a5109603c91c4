from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from controlplane.domain import bundle as bundles
from swarm_cli.commands.agent import bundle
from swarm_cli.inputs import read_json
from swarm_cli.scaffold import scaffold
from swarm_cli.steps import drawing
from swarm_sdk.errors import AlreadyExistsError, InvalidArgumentError
from swarm_sdk.types import WorkflowStep


def step(name: str, *needs: str) -> WorkflowStep:
    return WorkflowStep(name=name, agent="shell", needs=needs)


def test_steps_of_one_depth_stand_beside_each_other() -> None:
    lines = drawing([step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c")])
    assert lines == ["[ a ]", "  │      │", "[ b ]  [ c ]", "  │", "[ d ]"]
    assert drawing([]) == []


def test_a_new_agent_is_a_bundle_that_the_registry_takes(tmp_path: Path) -> None:
    written = scaffold("my-agent", tmp_path / "a")
    manifest = bundles.read(bundle(tmp_path / "a"))
    assert (manifest.name, manifest.command) == ("my-agent", ("./run",))
    assert os.access(written[1], os.X_OK)


def test_a_new_agent_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(AlreadyExistsError):
        scaffold("my-agent", tmp_path)
    with pytest.raises(InvalidArgumentError):
        scaffold("../My Agent", tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_json_comes_from_the_command_line_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "input.json"
    path.write_text(json.dumps({"a": 1}))
    assert read_json(f"@{path}", "--input") == read_json('{"a": 1}', "--input") == {"a": 1}
    for broken in ("[", "[1]", f"@{tmp_path}/none", "[" * 100_000):
        with pytest.raises(InvalidArgumentError, match="--input"):
            read_json(broken, "--input")
