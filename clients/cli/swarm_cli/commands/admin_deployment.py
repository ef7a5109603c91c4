"""`swarm admin config|usage|health`."""

from __future__ import annotations

from typing import Final

import click

from swarm_cli.context import App, command
from swarm_cli.render import table, text
from swarm_sdk.types import Setting, Usage, name_of, to_dict

FAILED: Final = 1


@click.group()
def _root() -> None: ...


@command(_root, "config", examples="  swarm admin config\n  swarm admin config --set rate_limit=200")
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Change it for good; may be repeated.")
@click.option("--unset", "undone", multiple=True, metavar="NAME", help="Back to what was configured; may be repeated.")
async def config(app: App, changes: tuple[str, ...], undone: tuple[str, ...]) -> None:
    """Show what the control plane runs with, or change it."""
    values = dict.fromkeys(undone, "") | dict(map(_change, changes))
    async with app.client() as client:
        shown = await (client.admin.configure(values) if values else client.admin.config())
    if app.as_json:
        app.emit([to_dict(each) for each in shown])
    else:
        app.out.print(table(["SETTING", "VALUE", "FROM", "CAN BE SET"], [_setting(each) for each in shown]))


@command(_root, "usage", examples="  swarm admin usage --first 2026-01-01 --last 2026-01-31")
@click.option("--first", default="", metavar="DAY", help="Default: 29 days before the last.")
@click.option("--last", default="", metavar="DAY", help="Default: today, UTC.")
@click.option("--tenant", "tenant_id", default="", help="Tenant; default: all that are yours to run.")
async def usage(app: App, first: str, last: str, tenant_id: str) -> None:
    """Count by day, project and user what agents used."""
    async with app.client() as client:
        found = await client.admin.usage(first_day=first, last_day=last, tenant_id=tenant_id)
    if app.as_json:
        app.emit(to_dict(found))
        return
    heads = ["DAY", "TENANT", "PROJECT", "USER", "TICKETS", "ATTEMPTS", "VM TIME", "TOKENS IN", "OUT", "COST"]
    app.out.print(table(heads, [_usage(row) for row in [*found.rows, found.total]]))


@command(_root, "health", examples="  swarm admin health")
async def health(app: App) -> None:
    """Look at every part of the deployment; ends with 1 when one has failed."""
    async with app.client() as client:
        found = await client.admin.health()
    if app.as_json:
        app.emit(to_dict(found))
    else:
        rows = [[each.name, name_of(each, "status"), text(each.detail), text(each.advice)] for each in found.checks]
        app.out.print(table(["PART", "STATUS", "WHAT", "WHAT TO DO"], rows))
    if name_of(found, "status") == "failed":
        raise click.exceptions.Exit(FAILED)


def _change(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals or not value:
        raise click.BadParameter(f"{given}: say NAME=VALUE")
    return name.replace("-", "_"), value


def _setting(each: Setting) -> list[str]:
    return [each.name, text(each.value, 60), each.source, "yes" if each.changeable else ""]


def _usage(row: Usage) -> list[str]:
    numbers = [f"{each:,}" for each in (row.tickets, row.attempts)]
    tokens = [f"{each:,}" for each in (row.input_tokens, row.output_tokens)]
    names = [row.day or "total", text(row.tenant_id), text(row.project_id), text(row.user, 30)]
    return [*names, *numbers, f"{row.vm_time.seconds:,} s", *tokens, f"${row.cost_usd:,.2f}"]


COMMANDS: Final = (config, usage, health)
