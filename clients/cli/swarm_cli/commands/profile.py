"""`swarm profile ...`."""

from __future__ import annotations

from pathlib import Path

import click

from swarm_cli.context import App, command
from swarm_cli.render import text
from swarm_sdk.types import to_dict


@click.group()
def cli() -> None:
    """Change your name and picture; `swarm login` first."""


@command(cli, "name", examples="  swarm profile name 'Ann Lee'")
@click.argument("name")
async def name_(app: App, name: str) -> None:
    """Change your name."""
    async with app.client() as client:
        user = await client.auth.rename(name)
    if app.as_json:
        app.emit(to_dict(user))
    else:
        app.note(f"you are {text(user.name)}")


@command(cli, "picture", examples="  swarm profile picture me.png\n  swarm profile picture --remove")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--remove", is_flag=True, help="Have none.")
async def picture(app: App, file: Path | None, remove: bool) -> None:
    """Upload a picture: PNG, JPEG, WebP or GIF of at most 2 MiB."""
    if (file is None) != remove:
        raise click.UsageError("name a file, or say --remove")
    async with app.client() as client:
        if file is None:
            await client.auth.delete_avatar()
        else:
            await client.auth.upload_avatar(file.read_bytes())
    if app.as_json:
        app.emit({"picture": not remove})
    else:
        app.note("removed" if remove else "uploaded")
