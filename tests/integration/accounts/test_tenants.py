from __future__ import annotations

from pathlib import Path

import pytest

from swarm_sdk import (
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
    SwarmError,
    TicketSpec,
    UnauthenticatedError,
)
from swarm_sdk.audit import filtered
from swarm_sdk.types import Role, TenantSpec, UserSpec
from tests.fakes.control import control_plane
from tests.integration.accounts.conftest import UNLIMITED
from tests.integration.accounts.people import PASSWORD, Town

ACME = TenantSpec(name="Acme")


async def test_an_admin_of_one_tenant_is_none_of_another(town: Town) -> None:
    await town.admin.admin.create_tenant("acme", ACME)
    root = await town.person("root", Role.ROLE_ADMIN)
    boss = await town.person("boss", Role.ROLE_ADMIN, "acme")
    ann = (await root.auth.me()).user
    assert [each.email for each in await boss.admin.users()] == ["boss@example.org"]
    assert [each.id for each in await boss.admin.tenants()] == ["acme"]
    assert [each.id for each in await root.admin.tenants()] == ["acme", "default"]
    assert [each.email for each in await root.admin.users(tenant_id="acme")] == ["boss@example.org"]
    for foreign in (
        boss.admin.users(tenant_id="default"),
        boss.admin.user(ann.id),
        boss.admin.user(ann.id, tenant_id="default"),
        boss.admin.update_user(ann.id, UserSpec(role=Role.ROLE_VIEWER), ["role"]),
        boss.admin.reset_user(ann.id),
        boss.admin.tenant("default"),
        boss.admin.create_user(UserSpec(email="x@y.z", name="x", role=Role.ROLE_VIEWER), tenant_id="default"),
        root.admin.users(tenant_id="nowhere"),
    ):
        with pytest.raises(NotFoundError):
            await foreign
    for shared in (
        boss.admin.create_tenant("more", ACME),
        boss.admin.update_tenant("acme", TenantSpec(disabled=True), ["disabled"]),
        boss.hosts.cordon("local"),
        boss.coordinator.stop(),
    ):
        with pytest.raises(PermissionDeniedError):
            await shared
    assert (await boss.admin.update_tenant("acme", TenantSpec(name="Acme 2"), ["name"])).spec.name == "Acme 2"


async def test_tenants_see_nothing_of_each_others_tickets(town: Town) -> None:
    await town.admin.admin.create_tenant("acme", ACME)
    ours, theirs = await town.person("ann"), await town.person("bob", tenant="acme")
    mine = await ours.tickets.create(TicketSpec(title="hello", agent="echo"))
    assert not await theirs.tickets.list()
    with pytest.raises(NotFoundError):
        await theirs.tickets.get(mine.id)
    assert (await theirs.tickets.create(TicketSpec(title="hello", agent="echo"))).key == "TKT-001"


async def test_logins_and_guesses_are_in_the_audit_log_of_the_tenant_whose_user_it_is(town: Town) -> None:
    await town.admin.admin.create_tenant("acme", ACME)
    boss = await town.person("boss", Role.ROLE_ADMIN, tenant="acme")
    with pytest.raises(UnauthenticatedError):
        await town.stranger().auth.login("boss@example.org", "wrong horse battery")
    user_id = (await boss.auth.me()).user.id
    theirs = [(row.action, row.user_id) for row in await boss.audit.list(filtered(action="auth.*"))]
    assert theirs == [("auth.refused", ""), ("auth.login", user_id)]
    assert not [row for row in await town.admin.audit.list(filtered(action="auth.*")) if user_id in row.principal]


async def test_a_disabled_tenant_is_shut_out_at_once(town: Town) -> None:
    await town.admin.admin.create_tenant("acme", ACME)
    bob = await town.person("bob", tenant="acme")
    program = town.stranger((await bob.keys.create("ci", ["read"])).secret)
    await town.admin.admin.update_tenant("acme", TenantSpec(disabled=True), ["disabled"])
    for gone in (bob.auth.me(), program.tickets.list(), town.stranger().auth.login("bob@example.org", PASSWORD)):
        with pytest.raises(UnauthenticatedError):
            await gone
    await town.admin.admin.update_tenant("acme", TenantSpec(disabled=False), ["disabled"])
    assert (await bob.auth.me()).user.name == "bob"
    with pytest.raises(FailedPreconditionError):
        await town.admin.admin.update_tenant("default", TenantSpec(disabled=True), ["disabled"])


async def test_users_are_made_with_a_password_or_a_token_for_one(town: Town) -> None:
    spec = UserSpec(email="Cleo@Example.org", name=" Cleo ", role=Role.ROLE_OPERATOR)
    made = await town.admin.admin.create_user(spec)
    assert (made.user.email, made.user.name, made.user.has_password) == ("cleo@example.org", "Cleo", False)
    with pytest.raises(UnauthenticatedError):
        await town.stranger().auth.login("cleo@example.org", PASSWORD)
    await town.stranger().auth.reset_password(made.reset_token, PASSWORD)
    assert (await town.tokens("cleo")).user.id == made.user.id
    with pytest.raises(AlreadyExistsError):
        await town.admin.admin.create_user(spec)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (UserSpec(email="nobody", name="x", role=Role.ROLE_VIEWER), "/spec/email"),
        (UserSpec(email="a@b\n.c", name="x", role=Role.ROLE_VIEWER), "/spec/email"),
        (UserSpec(email="a@b.c", name="x\0", role=Role.ROLE_VIEWER), "/spec/name"),
        (UserSpec(email="a@b.c", name="x", role=Role.ROLE_HOST), "/spec/role"),
        (UserSpec(email="a@b.c", name="x"), "/spec/role"),
    ],
)
async def test_a_user_without_sense_is_refused(town: Town, spec: UserSpec, field: str) -> None:
    with pytest.raises(SwarmError) as caught:
        await town.admin.admin.create_user(spec, password=PASSWORD)
    assert (caught.value.code, caught.value.violations[0].field) == ("INVALID_ARGUMENT", field)


async def test_no_admin_takes_the_own_rights_away(town: Town) -> None:
    root = await town.person("root", Role.ROLE_ADMIN)
    me = (await root.auth.me()).user
    for spec, field in ((UserSpec(disabled=True), "disabled"), (UserSpec(role=Role.ROLE_VIEWER), "role")):
        with pytest.raises(FailedPreconditionError) as caught:
            await root.admin.update_user(me.id, spec, [field])
        assert caught.value.reason == "yourself"
    assert (await root.admin.update_user(me.id, UserSpec(name="Root"), ["name"])).name == "Root"


async def test_the_first_admin_comes_by_a_link_that_is_good_once(home: Path) -> None:
    async with control_plane(home, **UNLIMITED) as control, control.client() as admin:
        town, file = Town(control, admin), home / "setup.url"
        assert file.stat().st_mode & 0o777 == 0o600
        token = file.read_text().strip().partition("#token=")[2]
        words = {"email": "root@example.org", "name": "Root", "password": PASSWORD}
        with pytest.raises(UnauthenticatedError):
            await town.stranger().auth.setup("swm_setup_x", **words)
        tokens = await town.stranger().auth.setup(token, **words)
        assert (tokens.user.role, tokens.user.tenant_id) == (Role.ROLE_ADMIN, "default")
        assert not file.exists()
        assert await town.stranger(tokens.access_token).admin.users()
        with pytest.raises(UnauthenticatedError) as caught:
            await town.stranger().auth.setup(token, **words | {"email": "eve@example.org"})
        assert caught.value.reason == "invalid_setup_token"
        for client in town.opened:
            await client.close()
    async with control_plane(home, **UNLIMITED):
        assert not file.exists()


async def test_a_link_of_an_earlier_start_is_void_and_so_is_one_beside_a_user(home: Path) -> None:
    words = {"email": "root@example.org", "name": "Root", "password": PASSWORD}
    async with control_plane(home, **UNLIMITED):
        old = (home / "setup.url").read_text().strip().partition("#token=")[2]
    async with control_plane(home, **UNLIMITED) as control, control.client() as admin:
        town, new = Town(control, admin), (home / "setup.url").read_text().strip().partition("#token=")[2]
        await town.settle("ann")
        assert not (home / "setup.url").exists()
        for token in (old, new):
            with pytest.raises(UnauthenticatedError):
                await town.stranger().auth.setup(token, **words)
        for client in town.opened:
            await client.close()
