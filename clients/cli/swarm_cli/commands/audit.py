"""`swarm audit`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from swarm_cli.context import App, command
from swarm_cli.render import table, text
from swarm_sdk.audit import filtered, heads_in
from swarm_sdk.errors import FailedPreconditionError
from swarm_sdk.types import AuditLog, to_dict, to_json


@click.group("audit", epilog="\b\nExamples:\n  swarm audit list --action 'ticket.*'\n  swarm audit verify")
def cli() -> None:
    """See who did what, and whether the log is what was written."""


def _filters(work: Callable[..., Any]) -> Callable[..., Any]:
    for name, kind, words in reversed(
        (
            ("--actor", str, "Name or user id of who did it."),
            ("--action", str, "An action, or the beginning of several with * after it."),
            ("--request", str, "Id of the request."),
            ("--since", click.DateTime(), "Not before this time, UTC."),
            ("--until", click.DateTime(), "Before this time, UTC."),
        )
    ):
        work = click.option(name, type=kind, default=None if name in {"--since", "--until"} else "", help=words)(work)
    return work


@command(cli, "list", examples="  swarm audit list\n  swarm audit list --actor alice --action 'vm.*' --limit 20 --json")
@_filters
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="So many at most; 0: all.")
async def list_(
    app: App, actor: str, action: str, request: str, since: datetime | None, until: datetime | None, limit: int
) -> None:
    """List rows, the newest first."""
    where = filtered(actor=actor, action=action, request=request, since=since, until=until)
    async with app.client() as client:
        found = await client.audit.list(where, limit=limit)
    if app.as_json:
        app.emit([to_dict(row) for row in found])
        return
    app.out.print(table([">SEQ", "TIME", "ACTION", "WHO", "REQUEST", "WHAT"], map(_row, found)))


def _row(row: AuditLog) -> list[str]:
    what = ", ".join(f"{name} {value}" for name, value in to_dict(row.data).items() if name != "method")
    when = row.time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
    return [str(row.seq), when, text(row.action), text(row.principal), text(row.request_id), text(what)]


@command(cli, "export", examples="  swarm audit export > audit.jsonl\n  swarm audit export --since 2026-01-01")
@_filters
async def export(
    app: App, actor: str, action: str, request: str, since: datetime | None, until: datetime | None
) -> None:
    """Write rows as JSON, one a line, the newest first. The export leaves a row itself."""
    where = filtered(actor=actor, action=action, request=request, since=since, until=until)
    async with app.client() as client:
        async for row in client.audit.export(where):
            click.echo(to_json(row))


@command(cli, "verify", examples="  swarm audit verify\n  swarm audit verify --head /mnt/elsewhere/audit.heads")
@click.option(
    "--head", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Heads kept elsewhere."
)
async def verify(app: App, file: Path | None) -> None:
    """Check that every row is as it was written and none is missing; exit code 5 and the first bad row if not."""
    heads = heads_in(file.read_text(encoding="utf-8", errors="replace")) if file else []
    async with app.client() as client:
        verdict = await client.audit.verify(heads)
    if app.as_json:
        app.emit(to_dict(verdict))
    elif verdict.sound:
        app.out.print(f"sound: {verdict.rows} rows, held against {verdict.heads} heads", highlight=False)
    if not verdict.sound:
        raise FailedPreconditionError(f"the audit log was altered: row {verdict.first_bad_seq}: {verdict.reason}")
