"""`swarm backup`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import click

from swarm_cli.backups import describe, offline, progress, tidy
from swarm_cli.context import App, command
from swarm_cli.render import text
from swarm_sdk.types import Progress, to_dict


class _Default(click.Group):
    """`backup FILE` stands for `backup create FILE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help", "-h"}:
            args = ["create", *args]
        return super().parse_args(ctx, args)


@click.group(
    "backup",
    cls=_Default,
    epilog="\b\nExamples:\n  swarm backup /var/backups/swarm.tar\n  swarm backup verify /var/backups/swarm.tar",
)
def cli() -> None:
    """Save everything into one file while the control plane goes on, or check one."""


_FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@command(cli, "create", examples="  swarm backup create swarm.tar\n  swarm backup swarm.tar --json")
@_FILE
async def create(app: App, file: Path) -> None:
    """Write a verified backup of the running control plane to FILE. Keep it as secret as the code."""
    found: dict[str, Any] = {}

    async def steps() -> AsyncGenerator[Progress, None]:
        async with app.client() as client:
            async for answer in client.coordinator.backup(file):
                if answer.sha256:
                    found.update(tidy(to_dict(answer.manifest)))
                yield Progress(fraction=answer.fraction, message=answer.step)

    await progress(app, "backup", steps())
    if app.as_json:
        app.emit({"file": str(file), "manifest": found})
        return
    app.out.print(f"{text(str(file))} is written and verified", highlight=False)
    describe(app, found)


@command(cli, "verify", examples="  swarm backup verify swarm.tar")
@_FILE
async def verify(app: App, file: Path) -> None:
    """Check hashes, pages and history of a backup, and say what is in it."""
    manifest = tidy(await offline(app, "verify", "verify", str(file.absolute())))
    if app.as_json:
        app.emit({"file": str(file), "manifest": manifest})
        return
    app.out.print(f"{text(str(file))} is sound", highlight=False)
    describe(app, manifest)
