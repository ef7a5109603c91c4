"""`swarm bench`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import click


@click.command(
    "bench",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    epilog="\b\nExamples:\n  swarm bench\n  swarm bench boot_tiers --json",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def cli(arguments: Sequence[str]) -> None:
    """List the benches, or run one: the same as `python -m bench`."""
    raise SystemExit(subprocess.run([sys.executable, "-m", "bench", *arguments], check=False).returncode)
