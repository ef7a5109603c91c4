from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from swarm_cli.main import COMMANDS, main
from tests.unit.cli.conftest import Swarm


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, as the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from leaves(found, (*path, name))
        else:
            yield (*path, name)


assert isinstance(main, click.Group)
LEAVES = [path for path in leaves(main) if path != ("bench",)]  # its options, --help too, belong to the benches


def test_every_command_is_listed(swarm: Swarm) -> None:
    listed = swarm("--help").stdout

    assert all(f"  {name} " in listed for name in COMMANDS)
    assert len(LEAVES) > 40


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_help_tells_the_purpose_and_shows_examples(swarm: Swarm, path: tuple[str, ...]) -> None:
    done = swarm(*path, "--help")

    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"Usage: swarm {' '.join(path)}")
    assert f"Examples:\n    swarm {' '.join(path)}" in done.stdout
    assert "--json" in done.stdout
    assert "--state-dir" in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ("frobnicate",),
        ("ticket", "frobnicate"),
        ("ticket", "show"),
        ("ticket", "show", "TKT-001", "--frobnicate"),
        ("ticket", "list", "--state", "flying"),
        ("ticket", "create", "x", "--priority", "10"),
        ("ticket", "create", "x", "--priority", "-1"),
        ("ticket", "logs", "TKT-001", "--tail", "1e9"),
        ("vm", "boot", "--count", "0"),
        ("run",),
        ("run", "--spec", "/nowhere/card.json"),
        ("up", "--max-vms", "0"),
        ("engine", "start", "--max-vms", "-3"),
        ("agent", "test", "/nowhere/agent"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_a_line_on_stderr(swarm: Swarm, args: tuple[str, ...]) -> None:
    done = swarm(*args)

    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Error: " in done.stderr
