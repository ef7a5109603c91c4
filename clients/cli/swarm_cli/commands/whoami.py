"""`swarm whoami`."""

from __future__ import annotations

import click

from swarm_cli.context import App, command
from swarm_cli.render import text
from swarm_sdk.types import name_of, to_dict


@click.group()
def _root() -> None: ...


@command(_root, "whoami", examples="  swarm whoami")
async def cli(app: App) -> None:
    """Show who the control plane takes you for."""
    async with app.client() as client:
        me = await client.auth.me()
    if app.as_json:
        app.emit(to_dict(me))
        return
    who = f"{text(me.user.email)} of tenant {text(me.user.tenant_id)}" if me.user.id else "the local admin"
    scopes = f", scopes {' '.join(me.scopes)}" if me.scopes else ""
    app.out.print(f"{who}, {name_of(me, 'role')}{text(scopes)}", highlight=False)
