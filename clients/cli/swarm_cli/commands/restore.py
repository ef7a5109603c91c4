"""`swarm restore`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from swarm_cli.backups import describe, offline, tidy
from swarm_cli.context import App, command, default_state_dir
from swarm_cli.render import text


@click.group()
def _root() -> None: ...


@command(
    _root,
    "restore",
    examples="  swarm restore swarm.tar --state-dir ./new\n  swarm down && swarm restore swarm.tar --force && swarm up",
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Put a database that is there aside; it is kept.")
async def cli(app: App, file: Path, force: bool) -> None:
    """Begin anew from a backup: all of it, or nothing. The control plane must be down.

    What was leased runs again, whoever was logged in gets a new token, and no number, branch or fence that was given
    out after the backup is used again.
    """
    arguments = ["restore", str(file.absolute()), "--state-dir", str(app.state_dir), *(["--force"] if force else [])]
    found = await offline(app, "restore", *arguments)
    found["manifest"] = tidy(found["manifest"])
    if app.as_json:
        app.emit(found)
        return
    app.out.print(f"restored into {text(str(app.state_dir))} as epoch {found['epoch']}", highlight=False)
    describe(app, found["manifest"])
    if found["leases"]:
        app.out.print(f"{found['leases']} tickets that were running run again", highlight=False)
    if found["kept"]:
        app.out.print(f"the database that was there is now {text(found['kept'])}", highlight=False)
    elsewhere = "" if app.state_dir == default_state_dir() else f" --state-dir {shlex.quote(str(app.state_dir))}"
    app.note(f"next: swarm up{elsewhere}")
