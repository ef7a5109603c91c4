"""`swarm ticket diff`, `delete` and `bulk`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from swarm_cli.context import WORK_FAILED, App, command
from swarm_cli.render import paint, table, text, visible
from swarm_sdk.types import BulkAction, BulkResult, FileStat, name_of, to_dict

ACTIONS = [name.removeprefix("BULK_ACTION_").lower() for name in BulkAction.keys()[1:]]  # no dict


@click.argument("ident", metavar="ID")
@click.option("--stat", is_flag=True, help="Only how many lines of which files.")
async def diff(app: App, ident: str, stat: bool) -> None:
    """Show what a ticket changes."""
    async with app.client() as client:
        found = await client.tickets.diff(ident)
    if app.as_json:
        app.emit({**to_dict(found), "diff": found.diff.decode(errors="replace")})
    elif not found.head:
        app.note("nothing was pushed yet")
    elif stat:
        app.out.print(table([">ADDED", ">DELETED", "FILE"], map(_stat_row, found.files)))
    else:
        words = found.diff.decode(errors="replace")
        sys.stdout.write(visible(words) if sys.stdout.isatty() else words)
        if found.truncated:
            app.note("the diff is longer than what is shown")


def _stat_row(file: FileStat) -> list[str]:
    counts = ["binary", ""] if file.binary else [str(file.additions), str(file.deletions)]
    return [*counts, text(f"{file.old_path} -> {file.path}" if file.old_path else file.path)]


@click.argument("idents", metavar="ID...", nargs=-1, required=True)
async def delete(app: App, idents: Sequence[str]) -> None:
    """Delete tickets that are held or over, all of them or none."""
    async with app.client() as client:
        results = await client.tickets.bulk(idents, BulkAction.BULK_ACTION_DELETE, all_or_nothing=True)
    _show(app, results)


@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("idents", metavar="ID...", nargs=-1, required=True)
@click.option("--assignee", default="", help="Of assign; without it nobody has them.")
@click.option("--add", "added", multiple=True, metavar="TAG", help="Of tag; may be repeated.")
@click.option("--remove", "removed", multiple=True, metavar="TAG", help="Of tag; may be repeated.")
@click.option("--priority", type=click.IntRange(0, 9), default=5, show_default=True, help="Of prioritize.")
@click.option("--reason", default="", help="Of cancel.")
@click.option("--all-or-nothing", is_flag=True, help="Change none when one cannot be changed.")
async def bulk(
    app: App,
    action: str,
    idents: Sequence[str],
    assignee: str,
    added: Sequence[str],
    removed: Sequence[str],
    priority: int,
    reason: str,
    all_or_nothing: bool,
) -> None:
    """Do one thing to many tickets; exit 8 when some could not be changed."""
    async with app.client() as client:
        results = await client.tickets.bulk(
            idents,
            BulkAction.Value(f"BULK_ACTION_{action.upper()}"),
            assignee=assignee,
            add_tags=added,
            remove_tags=removed,
            priority=priority,
            reason=reason,
            all_or_nothing=all_or_nothing,
        )
    _show(app, results)


def _show(app: App, results: Sequence[BulkResult]) -> None:
    if app.as_json:
        app.emit([to_dict(each) for each in results])
    else:
        app.out.print(table(["TICKET", "STATE", "WHAT"], map(_result_row, results)))
    if any(each.code for each in results):
        raise SystemExit(WORK_FAILED)


def _result_row(result: BulkResult) -> list[str]:
    if result.code:
        return [text(result.id), "", f"[red]{text(result.message)}[/]"]
    if not result.HasField("ticket"):
        return [text(result.id), "", "deleted"]
    return [result.ticket.key, paint(name_of(result.ticket, "state")), text(result.ticket.spec.title)]


def register(group: click.Group) -> None:
    """Adds the three to `swarm ticket`."""
    command(group, "diff", examples="  swarm ticket diff TKT-003\n  swarm ticket diff TKT-003 --stat")(diff)
    command(group, "delete", examples="  swarm ticket delete TKT-003 TKT-007")(delete)
    command(
        group,
        "bulk",
        examples="  swarm ticket bulk tag TKT-003 TKT-007 --add urgent --remove later\n"
        "  swarm ticket bulk cancel TKT-003 TKT-007 --reason 'no longer wanted' --all-or-nothing",
    )(bulk)
