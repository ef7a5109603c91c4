"""What the documentation tells people to type must exist."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.style.tracked import ROOT, texts

BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"[<\[$|&;>]|\.\.\.")


def commands() -> Iterator[tuple[str, str]]:
    """(file, command) for each prompt line of each console block."""
    for name, text in texts().items():
        if not name.endswith(".md"):
            continue
        for block in BLOCK.findall(text):
            for line in block.replace("\\\n", " ").splitlines():
                if match := re.match(r"[$#] (?:sudo )?(?:\.venv/bin/)?(.+)", line):
                    yield name, match[1].split(" #")[0].strip()


def words(command: str) -> list[str]:
    """The command up to the first thing that a reader has to fill in, or that a shell would interpret."""
    return list(itertools.takewhile(lambda word: not PLACEHOLDER.match(word), shlex.split(command)))


def subcommand(argv: list[str]) -> list[str]:
    """`swarm` and the names after it, up to the first option or value."""
    names = [argv[0]]
    for word in argv[1:]:
        if not re.fullmatch(r"[a-z][a-z-]*", word):
            break
        names.append(word)
    return names


ALL = sorted(set(commands()))
MAKE = [pytest.param(command, id=f"{name}: {command}") for name, command in ALL if command.startswith("make ")]
SWARM = [pytest.param(command, id=f"{name}: {command}") for name, command in ALL if re.match(r"swarm\b", command)]


@pytest.mark.parametrize("command", MAKE)
def test_make_target_exists(command: str) -> None:
    done = subprocess.run([*words(command), "--dry-run"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def help_of(argv: list[str]) -> str:
    program = Path(sys.executable).with_name(argv[0])
    env = os.environ | {"COLUMNS": "200"}
    done = subprocess.run([program, *argv[1:], "--help"], env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", SWARM)
def test_swarm_command_and_its_options_exist(command: str) -> None:
    argv = words(command)
    known = help_of(subcommand(argv)) + help_of(argv[:1])
    options = {word.split("=")[0] for word in argv if word.startswith("--")}
    assert options <= set(re.findall(r"--[a-z-]+", known))


def test_links_lead_to_files_of_the_repository() -> None:
    broken = [
        f"{name}: {target}"
        for name, text in texts().items()
        if name.endswith(".md")
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
        if not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert broken == []


def test_first_screen_of_the_readme_shows_the_two_commands() -> None:
    screen = texts()["README.md"].splitlines()[:40]
    assert {"$ make demo", "$ make test"} <= {line.split("  ")[0].strip() for line in screen}


def test_changelog_has_a_place_for_the_next_release() -> None:
    assert "## [Unreleased]" in texts()["CHANGELOG.md"]


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(
        int(match[1]) for name in texts() if (match := re.match(r"docs/adr/(\d{4})-[a-z0-9-]+\.md$", name))
    )
    assert numbers == list(range(len(numbers)))
