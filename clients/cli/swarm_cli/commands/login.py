"""`swarm login`."""

from __future__ import annotations

import os

import click

from swarm_cli.context import App, command
from swarm_cli.render import text
from swarm_sdk.client import Client
from swarm_sdk.credentials import StoredLogin
from swarm_sdk.types import Tokens, to_dict


@click.group()
def _root() -> None: ...


@command(_root, "login", examples="  swarm login ann@example.org\n  SWARM_TARGET=swarm.example.org:7443 swarm login")
@click.argument("email", required=False)
@click.option("--code", default="", help="Code of the authenticator app, or a recovery code; default: asked for.")
async def cli(app: App, email: str | None, code: str) -> None:
    """Log in with e-mail and password; commands are yours from then on. SWARM_PASSWORD answers for you."""
    email = email or click.prompt("E-mail", err=True)
    password = os.environ.get("SWARM_PASSWORD") or click.prompt("Password", hide_input=True, err=True)
    async with Client.stranger(app.state_dir) as client:
        answer = await client.auth.login(email, password)
        tokens = answer.tokens if answer.HasField("tokens") else await _second(client, answer.challenge, code)
        await StoredLogin(client.transport.target).save(tokens)
    if app.as_json:
        app.emit(to_dict(tokens.user))
    else:
        app.out.print(f"logged in as {text(tokens.user.email)}", highlight=False)


async def _second(client: Client, challenge: str, code: str) -> Tokens:
    return await client.auth.complete(challenge, code or click.prompt("Code", hide_input=True, err=True))
