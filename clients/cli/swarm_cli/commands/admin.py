"""`swarm admin ...`: users and tenants; what is about the deployment has a module of its own."""

from __future__ import annotations

import os

import click

from swarm_cli.commands.admin_deployment import COMMANDS
from swarm_cli.context import App, command
from swarm_cli.render import table, text
from swarm_sdk.types import Role, TenantSpec, User, UserSpec, name_of, to_dict

ROLES = ("viewer", "developer", "approver", "operator", "admin")


@click.group()
def cli() -> None:
    """Manage users, tenants and the deployment."""


for _each in COMMANDS:
    cli.add_command(_each)


@cli.group()
def user() -> None:
    """Create, list, change and reset users."""


@cli.group()
def tenant() -> None:
    """Create, list, disable and enable tenants."""


_TENANT = click.option("--tenant", "tenant_id", default="", help="Tenant; default: your own.")
_ROLE = click.option("--role", type=click.Choice(ROLES), default="developer", show_default=True)
_NAME = click.option("--name", default="", help="Default: what stands before the @.")
_INVITE = click.option("--invite", is_flag=True, help="Print a link for a first password instead of asking for one.")


@command(cli, "create", examples="  swarm admin create root@example.org")
@click.argument("email")
@_NAME
@_INVITE
async def create(app: App, email: str, name: str, invite: bool) -> None:
    """Create an admin of the deployment. SWARM_PASSWORD answers for you."""
    await _create(app, email, name, "admin", "", invite=invite)


@command(user, "create", examples="  swarm admin user create ann@example.org --role developer --invite")
@click.argument("email")
@_NAME
@_ROLE
@_TENANT
@_INVITE
async def create_user(app: App, email: str, name: str, role: str, tenant_id: str, invite: bool) -> None:
    """Create a user. SWARM_PASSWORD answers for you."""
    await _create(app, email, name, role, tenant_id, invite=invite)


@command(user, "list", examples="  swarm admin user list")
@_TENANT
async def list_users(app: App, tenant_id: str) -> None:
    """List the users of a tenant."""
    async with app.client() as client:
        users = await client.admin.users(tenant_id=tenant_id)
    if app.as_json:
        app.emit([to_dict(each) for each in users])
    else:
        app.out.print(table(["USER", "E-MAIL", "NAME", "ROLE", "2FA", "STATE"], [_row(each) for each in users]))


@command(user, "role", examples="  swarm admin user role us_01h… operator")
@click.argument("user_id")
@click.argument("role", type=click.Choice(ROLES))
@_TENANT
async def change_role(app: App, user_id: str, role: str, tenant_id: str) -> None:
    """Give a user another role; it counts at once."""
    await _update(app, user_id, UserSpec(role=_role(role)), "role", tenant_id)


@command(user, "disable", examples="  swarm admin user disable us_01h…")
@click.argument("user_id")
@_TENANT
async def disable(app: App, user_id: str, tenant_id: str) -> None:
    """Shut a user out: all logins and keys end at once."""
    await _update(app, user_id, UserSpec(disabled=True), "disabled", tenant_id)


@command(user, "enable", examples="  swarm admin user enable us_01h…")
@click.argument("user_id")
@_TENANT
async def enable(app: App, user_id: str, tenant_id: str) -> None:
    """Let a user in again."""
    await _update(app, user_id, UserSpec(disabled=False), "disabled", tenant_id)


@command(user, "reset", examples="  swarm admin user reset us_01h…")
@click.argument("user_id")
@_TENANT
async def reset(app: App, user_id: str, tenant_id: str) -> None:
    """End all logins, drop the second factor and print a link for a new password."""
    async with app.client() as client:
        token = await client.admin.reset_user(user_id, tenant_id=tenant_id)
    _give(app, {"reset_token": token}, token)


@command(tenant, "create", examples="  swarm admin tenant create acme --name 'Acme Inc.'")
@click.argument("tenant_id")
@click.option("--name", default="", help="Default: the id.")
async def create_tenant(app: App, tenant_id: str, name: str) -> None:
    """Create a tenant."""
    async with app.client() as client:
        made = await client.admin.create_tenant(tenant_id, TenantSpec(name=name or tenant_id))
    if app.as_json:
        app.emit(to_dict(made))
    else:
        app.out.print(text(made.id), highlight=False)


@command(tenant, "list", examples="  swarm admin tenant list")
async def list_tenants(app: App) -> None:
    """List the tenants that are yours to run."""
    async with app.client() as client:
        tenants = await client.admin.tenants()
    if app.as_json:
        app.emit([to_dict(each) for each in tenants])
        return
    rows = [[text(each.id), text(each.spec.name), "disabled" if each.spec.disabled else "enabled"] for each in tenants]
    app.out.print(table(["TENANT", "NAME", "STATE"], rows))


@command(tenant, "disable", examples="  swarm admin tenant disable acme")
@click.argument("tenant_id")
async def disable_tenant(app: App, tenant_id: str) -> None:
    """Shut all users of a tenant out."""
    await _switch(app, tenant_id, disabled=True)


@command(tenant, "enable", examples="  swarm admin tenant enable acme")
@click.argument("tenant_id")
async def enable_tenant(app: App, tenant_id: str) -> None:
    """Let them in again."""
    await _switch(app, tenant_id, disabled=False)


async def _create(app: App, email: str, name: str, role: str, tenant_id: str, *, invite: bool) -> None:
    spec = UserSpec(email=email, name=name or email.partition("@")[0], role=_role(role))
    async with app.client() as client:
        made = await client.admin.create_user(spec, password="" if invite else _new_password(), tenant_id=tenant_id)
    app.note(f"{text(made.user.email)} is {name_of(made.user, 'role')} of tenant {text(made.user.tenant_id)}")
    if not invite:
        app.note(f"log in with: swarm login {text(made.user.email)}")
    _give(app, to_dict(made), made.reset_token)


def _new_password() -> str:
    known = os.environ.get("SWARM_PASSWORD")
    return known or str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


async def _update(app: App, user_id: str, spec: UserSpec, field: str, tenant_id: str) -> None:
    async with app.client() as client:
        changed = await client.admin.update_user(user_id, spec, [field], tenant_id=tenant_id)
    if app.as_json:
        app.emit(to_dict(changed))
    else:
        app.out.print(table(["USER", "E-MAIL", "NAME", "ROLE", "2FA", "STATE"], [_row(changed)]))


async def _switch(app: App, tenant_id: str, *, disabled: bool) -> None:
    async with app.client() as client:
        changed = await client.admin.update_tenant(tenant_id, TenantSpec(disabled=disabled), ["disabled"])
    if app.as_json:
        app.emit(to_dict(changed))
    else:
        app.note(f"{text(tenant_id)} is {'disabled' if disabled else 'enabled'}")


def _give(app: App, data: dict[str, object], token: str) -> None:
    """A way to a new password, shown this once: a link, or its token where nothing is served over HTTP from here."""
    if app.as_json:
        app.emit(data)
    elif token:
        app.note("good for a day, to choose a password with:")
        link = f"{app.url}/reset-password#token={token}" if app.url else token
        app.out.print(text(link), highlight=False, soft_wrap=True)


def _role(name: str) -> Role.ValueType:
    return Role.Value(f"ROLE_{name.upper()}")


def _row(each: User) -> list[str]:
    state = "disabled" if each.HasField("disabled_at") else "enabled"
    factor = "yes" if each.totp_enabled else "no"
    return [each.id, text(each.email), text(each.name, 30), name_of(each, "role"), factor, state]
