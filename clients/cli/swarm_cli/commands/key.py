"""`swarm key ...`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from swarm_cli.context import App, command
from swarm_cli.render import ago, table, text
from swarm_sdk.types import Key, to_dict


@click.group()
def cli() -> None:
    """Create, list and revoke your API keys; `swarm login` first."""


@command(cli, "create", examples="  swarm key create ci --scope tickets:write --scope read --days 90")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, help="read, AREA:write or admin; may be repeated.")
@click.option("--days", type=click.IntRange(1, 3650), default=None, help="Until it expires; default: never.")
async def create(app: App, name: str, scopes: tuple[str, ...], days: int | None) -> None:
    """Create a key. It is printed this once; programs take it as SWARM_TOKEN."""
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    async with app.client() as client:
        made = await client.keys.create(name, scopes, expires_at=expires_at)
    if app.as_json:
        app.emit(to_dict(made))
        return
    app.note(f"{made.key.id} is shown this once:")
    app.out.print(made.secret, highlight=False, soft_wrap=True)


@command(cli, "list", examples="  swarm key list")
async def list_(app: App) -> None:
    """List your keys."""
    async with app.client() as client:
        keys = await client.keys.list()
    if app.as_json:
        app.emit([to_dict(key) for key in keys])
        return
    rows = [_row(key) for key in keys]
    app.out.print(table(["KEY", "NAME", "ENDS IN", "SCOPES", "LAST USED", "EXPIRES"], rows))


@command(cli, "revoke", examples="  swarm key revoke ak_01h…")
@click.argument("key_id")
async def revoke(app: App, key_id: str) -> None:
    """Revoke a key at once."""
    async with app.client() as client:
        await client.keys.revoke(key_id)
    if app.as_json:
        app.emit({"id": key_id})
    else:
        app.note(f"revoked {text(key_id)}")


def _row(key: Key) -> list[str]:
    used = ago(key.last_used_at) if key.HasField("last_used_at") else "never"
    expires = key.spec.expires_at.ToDatetime().strftime("%Y-%m-%d") if key.spec.HasField("expires_at") else "never"
    return [key.id, text(key.spec.name, 30), f"…{text(key.hint)}", text(" ".join(key.spec.scopes)), used, expires]
