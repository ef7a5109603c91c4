from __future__ import annotations

import asyncio
import re
from typing import Any

import apsw
import pytest

from controlplane.domain import guess
from swarm_sdk import Client, ResourceExhaustedError, SwarmError, TicketSpec, UnauthenticatedError
from swarm_sdk.types import Role, Tokens, UserSpec
from tests.fakes.control import control_plane
from tests.integration.accounts.conftest import UNLIMITED
from tests.integration.accounts.people import PASSWORD, Town

BAD_PASSWORDS = {"wrong": "wrong horse battery", "1 KiB": "x" * 1024}


async def refused(call: Any, reason: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        await call
    assert caught.value.reason == reason


async def test_a_person_logs_in_works_and_logs_out(town: Town) -> None:
    await town.settle("ann")
    answer = await town.stranger().auth.login(" Ann@Example.org ", PASSWORD)
    client = town.stranger(answer.tokens.access_token)
    me = await client.auth.me()
    assert (me.user.email, me.user.role, me.principal) == (
        "ann@example.org",
        Role.ROLE_DEVELOPER,
        f"user:{me.user.id}",
    )
    assert (await client.tickets.create(TicketSpec(title="hello", agent="echo"))).key == "TKT-001"
    await client.auth.logout()
    await refused(client.auth.me(), "login_ended")
    await refused(town.stranger().auth.refresh(answer.tokens.refresh_token), "invalid_refresh_token")


@pytest.mark.parametrize("password", BAD_PASSWORDS.values(), ids=BAD_PASSWORDS)
async def test_every_wrong_login_is_answered_alike(town: Town, password: str) -> None:
    await town.settle("ann")
    messages = set()
    for email in ("ann@example.org", "nobody@example.org", "no address"):
        with pytest.raises(UnauthenticatedError) as caught:
            await town.stranger().auth.login(email, password)
        messages.add((caught.value.message, caught.value.reason))
    assert len(messages) == 1


UNUSABLE = {"empty": "", "too long": "x" * 1025, "1 MB": "x" * (1 << 20), "a NUL": PASSWORD + "\0"}


@pytest.mark.parametrize("password", UNUSABLE.values(), ids=UNUSABLE)
async def test_what_cannot_be_a_password_is_refused_before_it_is_hashed(town: Town, password: str) -> None:
    with pytest.raises(SwarmError) as caught:
        await town.stranger().auth.login("ann@example.org", password)
    assert (caught.value.code, caught.value.violations[0].field) == ("INVALID_ARGUMENT", "/password")


async def test_an_account_is_locked_after_too_many_guesses(town: Town) -> None:
    await town.settle("ann")
    for _ in range(guess.ACCOUNT_GUESSES):
        await refused(town.stranger().auth.login("ann@example.org", "wrong horse battery"), "invalid_credentials")
    for email in ("ann@example.org", "ANN@example.org"):
        with pytest.raises(ResourceExhaustedError) as caught:
            await town.stranger().auth.login(email, PASSWORD)
        assert caught.value.reason == "locked_out"
        assert caught.value.retry_after_s
    await town.settle("bob")
    assert (await town.tokens("bob")).access_token


async def test_guesses_at_once_count_as_well(town: Town) -> None:
    await town.settle("ann")
    client = town.stranger()
    guesses = [client.auth.login("ann@example.org", f"wrong horse {n:03}") for n in range(2 * guess.ACCOUNT_GUESSES)]
    found = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(each, UnauthenticatedError) for each in found) == guess.ACCOUNT_GUESSES
    assert sum(isinstance(each, ResourceExhaustedError) for each in found) == guess.ACCOUNT_GUESSES


async def test_a_lock_outlives_a_restart(town: Town) -> None:
    """So replicas share it too: it is in the store."""
    await town.settle("ann")
    for _ in range(guess.ACCOUNT_GUESSES):
        await refused(town.stranger().auth.login("ann@example.org", "wrong horse battery"), "invalid_credentials")
    rows = list(apsw.Connection(str(town.control.config.database)).execute("SELECT subject, count FROM guess"))
    assert rows == [("account:ann@example.org", guess.ACCOUNT_GUESSES)]


async def test_a_refresh_token_is_good_once_and_its_copy_ends_the_login(town: Town) -> None:
    await town.settle("ann")
    first, client = await town.tokens("ann"), town.stranger()
    second = await client.auth.refresh(first.refresh_token)
    assert second.login_id == first.login_id
    assert (await town.stranger(second.access_token).auth.me()).user.name == "ann"
    await refused(client.auth.refresh(first.refresh_token), "invalid_refresh_token")
    await refused(client.auth.refresh(second.refresh_token), "invalid_refresh_token")
    await refused(town.stranger(second.access_token).auth.me(), "login_ended")


async def test_of_parallel_refreshes_one_succeeds_and_the_family_ends(town: Town) -> None:
    await town.settle("ann")
    tokens, clients = await town.tokens("ann"), [town.stranger() for _ in range(4)]
    calls = [client.auth.refresh(tokens.refresh_token) for client in clients for _ in range(3)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    winners = [each for each in found if isinstance(each, Tokens)]
    assert len(winners) == 1
    assert all(isinstance(each, Tokens | UnauthenticatedError) for each in found)
    await refused(town.stranger(winners[0].access_token).auth.me(), "login_ended")


@pytest.mark.parametrize("token", ["x", "swm_refresh_" + "0" * 38, "swm_refresh_é", "eyJ.e30.x"])
async def test_no_other_string_is_a_refresh_token(town: Town, token: str) -> None:
    await refused(town.stranger().auth.refresh(token), "invalid_refresh_token")


async def test_logins_are_listed_and_revoked_by_their_owner_only(town: Town) -> None:
    ann, bob = await town.person("ann"), await town.person("bob")
    other = town.stranger((await town.tokens("ann")).access_token)
    listed = await other.auth.logins()
    assert [each.current for each in listed] == [True, False]
    assert all(each.method == "password" and "grpc" in each.user_agent for each in listed)
    with pytest.raises(SwarmError) as caught:
        await bob.auth.revoke(listed[1].id)
    assert caught.value.code == "NOT_FOUND"
    await other.auth.revoke(listed[1].id)
    await refused(ann.auth.me(), "login_ended")
    third = town.stranger((await town.tokens("ann")).access_token)
    assert await third.auth.revoke_others() == 1
    await refused(other.auth.me(), "login_ended")
    assert len(await third.auth.logins()) == 1


async def test_an_open_stream_ends_with_its_login(town: Town) -> None:
    tokens_of = await town.person("ann")
    ticket = await tokens_of.tickets.create(TicketSpec(title="hello", agent="echo"))
    opened = asyncio.Event()

    async def follow() -> None:
        async for _ in tokens_of.tickets.watch(ticket.id):
            opened.set()

    task = asyncio.create_task(follow())
    await asyncio.wait_for(opened.wait(), 60)
    await tokens_of.auth.logout()
    async with asyncio.timeout(60):
        with pytest.raises(UnauthenticatedError):
            await task


async def test_whoever_is_shut_out_is_out_at_once(town: Town) -> None:
    ann = await town.person("ann")
    user = (await ann.auth.me()).user
    await town.admin.admin.update_user(user.id, UserSpec(role=Role.ROLE_VIEWER), ["role"])
    assert (await ann.auth.me()).role == Role.ROLE_VIEWER
    with pytest.raises(SwarmError) as caught:
        await ann.tickets.create(TicketSpec(title="hello", agent="echo"))
    assert caught.value.code == "PERMISSION_DENIED"
    await town.admin.admin.update_user(user.id, UserSpec(disabled=True), ["disabled"])
    await refused(ann.auth.me(), "login_ended")
    await refused(town.stranger().auth.login("ann@example.org", PASSWORD), "invalid_credentials")


async def test_a_changed_password_ends_the_other_logins(town: Town) -> None:
    ann, other = await town.person("ann"), town.stranger((await town.tokens("ann")).access_token)
    await refused(ann.auth.change_password("wrong horse battery", "another horse battery"), "invalid_credentials")
    with pytest.raises(SwarmError) as caught:
        await ann.auth.change_password(PASSWORD, "short")
    assert caught.value.violations[0].field == "/new_password"
    await ann.auth.change_password(PASSWORD, "another horse battery")
    assert (await ann.auth.me()).user.name == "ann"
    await refused(other.auth.me(), "login_ended")
    await refused(town.stranger().auth.login("ann@example.org", PASSWORD), "invalid_credentials")
    assert (await town.stranger().auth.login("ann@example.org", "another horse battery")).tokens.access_token


async def test_logins_and_revocations_outlive_a_restart(town: Town) -> None:
    home = town.control.config.state_dir.parent / "second"
    async with control_plane(home, **UNLIMITED) as control, control.client() as admin:
        first = Town(control, admin)
        await first.settle("ann")
        kept, ended = await first.tokens("ann"), await first.tokens("ann")
        await first.stranger(ended.access_token).auth.logout()
        for client in first.opened:
            await client.close()
    async with control_plane(home, **UNLIMITED) as control:
        async with Client(f"unix:{control.socket}", kept.access_token, retries=0) as client:
            assert (await client.auth.me()).user.name == "ann"
        async with Client(f"unix:{control.socket}", ended.access_token, retries=0) as client:
            await refused(client.auth.me(), "login_ended")


async def test_no_secret_is_in_the_database_nor_in_the_audit_log(town: Town) -> None:
    ann = await town.person("ann")
    tokens = await town.tokens("ann")
    key = await ann.keys.create("ci", ["read"])
    ticket = await ann.auth.ws_ticket()
    enrolled = await ann.auth.enroll_totp(PASSWORD)
    connection = apsw.Connection(str(town.control.config.database))
    dump = "\n".join(
        repr(row)
        for (name,) in list(connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"))
        for row in connection.execute(f"SELECT * FROM {name}")  # noqa: S608  # names of our own
    )
    for secret in (PASSWORD, tokens.refresh_token, tokens.access_token, key.secret, ticket, enrolled.secret):
        assert secret not in dump
    assert re.search(r"auth\.login'", dump)


async def test_the_local_admin_needs_no_account(town: Town) -> None:
    me = await town.admin.auth.me()
    assert (me.principal, me.role, me.HasField("user")) == ("admin", Role.ROLE_ADMIN, False)
    with pytest.raises(SwarmError) as caught:
        await town.admin.keys.create("ci", ["read"])
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "no_account")


async def test_public_calls_are_limited_by_address(home: Any) -> None:
    async with control_plane(home, rate_limit_auth=5) as control, control.client() as admin:
        client = Town(control, admin).stranger()
        for _ in range(5):
            await refused(client.auth.login("nobody@example.org", PASSWORD), "invalid_credentials")
        with pytest.raises(ResourceExhaustedError) as caught:
            await client.auth.login("nobody@example.org", PASSWORD)
        assert caught.value.reason == "rate_limited"
        await client.close()
