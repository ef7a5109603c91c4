"""`swarm logout`."""

from __future__ import annotations

import contextlib

import click

from swarm_cli.context import App, command
from swarm_sdk.client import Client
from swarm_sdk.credentials import StoredLogin
from swarm_sdk.errors import UnauthenticatedError


@click.group()
def _root() -> None: ...


@command(_root, "logout", examples="  swarm logout")
async def cli(app: App) -> None:
    """End the login that `swarm login` began."""
    async with Client.stranger(app.state_dir) as client:
        login = StoredLogin(client.transport.target)
        if login.exists:
            client.log_in(login)
            with contextlib.suppress(UnauthenticatedError):  # it has ended already
                await client.auth.logout()
            await login.remove()
            app.note("logged out")
        else:
            app.note("nobody was logged in")
    if app.as_json:
        app.emit({})
