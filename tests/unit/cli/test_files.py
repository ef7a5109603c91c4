"""Files that commands read: spec cards, inputs, agent folders."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from swarm_cli.commands.agent import bundle
from swarm_cli.commands.project import absolute
from swarm_cli.commands.run import LARGEST_CARD, load
from swarm_sdk.errors import InvalidArgumentError
from tests.unit.cli.conftest import Swarm


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"name": "a", "name": "b"}', "'name' stands there twice"),
        (b'{"features": [{"id": 1, "id": 2}]}', "'id' stands there twice"),
        (b'{"a": "\xff"}', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "a spec card is a JSON object"),
        (b'"card"', "a spec card is a JSON object"),
        (b" " * (LARGEST_CARD + 1), "is larger than 4 MiB"),
    ],
)
def test_a_card_that_is_no_card_is_refused(swarm: Swarm, tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(content)
    done = swarm("run", "--spec", str(path))

    assert done.exit_code == 2
    assert told in done.stderr


def test_a_card_is_read_as_it_stands(tmp_path: Path) -> None:
    card = {"name": "größer", "features": [{"title": "a"}]}
    path = tmp_path / "card.json"
    path.write_text(json.dumps(card), encoding="utf-8")

    assert load(path) == card


@pytest.mark.parametrize("same", ["", "https://host/a.git", "ssh://git@host/a", "file:///a", "-oProxyCommand=x"])
def test_repositories_that_are_no_paths_stay(same: str) -> None:
    assert absolute(same) == same


def test_a_relative_path_becomesabsolute() -> None:
    assert absolute("a/b.git") == str(Path.cwd() / "a/b.git")


@pytest.mark.parametrize("words", ["", "{", "[1]", '"x"', "@/nowhere.json"])
def test_an_input_that_is_no_object_is_refused(swarm: Swarm, words: str) -> None:
    done = swarm("ticket", "create", "x", "--input", words)

    assert done.exit_code == 2
    assert "--input: " in done.stderr


def agent(folder: Path) -> Path:
    (folder / "lib" / "__pycache__").mkdir(parents=True)
    (folder / "agent.json").write_text('{"name": "mine"}')
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o700)
    (folder / "lib" / "a.sh").write_text("true\n")
    (folder / "lib" / "__pycache__" / "a.pyc").write_text("x")
    (folder / "secret").symlink_to("/etc/shadow")
    return folder


def test_a_bundle_holds_plain_files_only_and_no_trace_of_this_machine(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(bundle(agent(tmp_path)))) as packed:
        entries = {entry.name: (entry.mode, entry.uid, entry.mtime, entry.uname) for entry in packed}

    assert entries == {
        "agent.json": (0o644, 0, 0, ""),
        "lib/a.sh": (0o644, 0, 0, ""),
        "run": (0o755, 0, 0, ""),
    }


def test_the_same_folder_makes_the_same_bundle(tmp_path: Path) -> None:
    first = bundle(agent(tmp_path / "one"))
    again = agent(tmp_path / "two")
    os.utime(again / "run", (1, 1))

    assert bundle(again) == first


def test_a_folder_without_manifest_is_no_agent(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"has no agent\.json"):
        bundle(tmp_path)
