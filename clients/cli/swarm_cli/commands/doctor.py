"""`swarm doctor`."""

from __future__ import annotations

import json
import subprocess
import sys

import click

from swarm_cli.context import App, command
from swarm_cli.render import table, text
from swarm_sdk.errors import FailedPreconditionError

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "failed": "[bold red]failed[/]"}


@click.group()
def _root() -> None: ...


@command(_root, "doctor", examples="  swarm doctor\n  swarm doctor --json")
async def cli(app: App) -> None:
    """Check what a host needs and say what to do; exit 1 when it cannot work."""
    probe = subprocess.run([sys.executable, "-m", "hostd.doctor"], check=False, capture_output=True, text=True)
    try:
        checks = json.loads(probe.stdout)
    except ValueError:
        raise FailedPreconditionError(f"the checks did not run: {probe.stderr.strip()[-500:]}") from None
    if app.as_json:
        app.emit(checks)
    else:
        rows = [
            [text(each["name"]), MARKS[each["status"]], text(each["found"]), text(each["advice"])] for each in checks
        ]
        app.out.print(table(["CHECK", "STATUS", "FOUND", "WHAT TO DO"], rows))
    if any(each["status"] == "failed" for each in checks):
        raise SystemExit(1)
