from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from controlplane.app import running, secrets_of
from controlplane.config import Config
from swarm_sdk import Client, FailedPreconditionError, SwarmError, UnauthenticatedError
from swarm_sdk.types import Role, UserSpec
from tests.fakes.control import control_plane
from tests.fakes.mail import MailServer, mail_server
from tests.integration.accounts.conftest import UNLIMITED
from tests.integration.accounts.people import PASSWORD, Town

NEW = "another horse battery"


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


def settings(mails: MailServer) -> dict[str, object]:
    return {
        **UNLIMITED,
        "secrets": {"SWARM_SMTP_URL": f"smtp://127.0.0.1:{mails.port}"},
        "smtp_from": "swarm@example.org",
        "http_url": "https://swarm.example.org",
    }


@pytest.fixture
async def town(home: Path, mails: MailServer) -> AsyncIterator[Town]:
    async with control_plane(home, **settings(mails)) as control, control.client() as admin:
        made = Town(control, admin)
        yield made
        for client in made.opened:
            await client.close()


def token_in(text: str) -> str:
    found = re.search(r"https://swarm\.example\.org/reset-password#token=(\S+)", text)
    assert found
    return found[1]


async def test_a_forgotten_password_is_reset_by_the_link_in_a_mail(town: Town, mails: MailServer) -> None:
    ann, stranger = await town.person("ann"), town.stranger()
    await stranger.auth.forgot_password("Ann@example.org")
    recipient, subject, text = await mails.mail()
    assert (recipient, subject) == ("ann@example.org", "Reset your Swarm password")
    with pytest.raises(SwarmError) as caught:
        await stranger.auth.reset_password(token_in(text), "short")
    assert caught.value.violations[0].field == "/new_password"
    await stranger.auth.reset_password(token_in(text), NEW)
    for gone in (ann.auth.me(), stranger.auth.login("ann@example.org", PASSWORD)):
        with pytest.raises(UnauthenticatedError):
            await gone
    assert (await stranger.auth.login("ann@example.org", NEW)).tokens.access_token
    with pytest.raises(UnauthenticatedError) as used:
        await stranger.auth.reset_password(token_in(text), PASSWORD)
    assert used.value.reason == "invalid_reset_token"


async def test_of_parallel_uses_of_one_link_one_succeeds(town: Town, mails: MailServer) -> None:
    await town.settle("ann")
    await town.stranger().auth.forgot_password("ann@example.org")
    token = token_in((await mails.mail())[2])
    calls = [town.stranger().auth.reset_password(token, f"{NEW} {n}") for n in range(5)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(each is None for each in found) == 1
    assert sum(isinstance(each, UnauthenticatedError) for each in found) == 4


async def test_the_answer_does_not_tell_who_has_an_account(town: Town, mails: MailServer) -> None:
    await town.settle("ann")
    for email in ("nobody@example.org", "no address", "ann@example.org"):
        await town.stranger().auth.forgot_password(email)
    assert (await mails.mail())[0] == "ann@example.org"
    assert len(mails.mails) == 1


async def test_many_requests_are_one_mail(town: Town, mails: MailServer) -> None:
    await town.settle("ann")
    await asyncio.gather(*(town.stranger().auth.forgot_password("ann@example.org") for _ in range(10)))
    await town.settle("bob")
    await town.stranger().auth.forgot_password("bob@example.org")
    while (await mails.mail(len(mails.mails)))[0] != "bob@example.org":
        await mails.mail(len(mails.mails) + 1)
    assert sum(recipient == "ann@example.org" for recipient, _, _ in mails.mails) <= 2  # a minute may have begun


async def test_a_mail_that_the_server_refused_for_now_comes_later(town: Town, mails: MailServer) -> None:
    mails.refusals = ["451 come back later"]
    await town.settle("ann")
    await town.stranger().auth.forgot_password("ann@example.org")
    await town.stranger().auth.reset_password(token_in((await mails.mail())[2]), NEW)


async def test_no_mail_is_lost_by_a_restart_while_the_server_is_away(home: Path) -> None:
    async with mail_server() as gone:
        away = settings(gone)
    async with control_plane(home, **away) as control, control.client() as admin:
        town = Town(control, admin)
        await town.settle("ann")
        await town.stranger().auth.forgot_password("ann@example.org")
        for client in town.opened:
            await client.close()
    async with mail_server() as mails, control_plane(home, **settings(mails)) as control, control.client() as admin:
        town = Town(control, admin)
        await town.stranger().auth.reset_password(token_in((await mails.mail())[2]), NEW)
        assert (await town.stranger().auth.login("ann@example.org", NEW)).tokens.access_token
        for client in town.opened:
            await client.close()


async def test_the_database_never_holds_a_link(town: Town, mails: MailServer) -> None:
    await town.settle("ann")
    await town.stranger().auth.forgot_password("ann@example.org")
    token = token_in((await mails.mail())[2])
    connection = apsw.Connection(str(town.control.config.database))
    assert token not in str(list(connection.execute("SELECT * FROM effect")))
    assert token not in str(list(connection.execute("SELECT * FROM one_time_token")))


@pytest.mark.parametrize("token", ["x", "swm_reset_" + "0" * 38, "swm_reset_\u0661"])
async def test_no_other_string_is_a_link(town: Town, token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await town.stranger().auth.reset_password(token, NEW)


async def test_without_a_mail_server_the_answer_says_so(home: Path) -> None:
    async with control_plane(home, **UNLIMITED) as control, control.client() as admin:
        for email in ("nobody@example.org", "ann@example.org"):
            with pytest.raises(FailedPreconditionError) as caught:
                await admin.auth.forgot_password(email)
            assert caught.value.reason == "mail_not_configured"


async def test_another_mail_server_counts_once_it_is_read_again(home: Path, mails: MailServer) -> None:
    environment = {"SWARM_SMTP_URL": "smtp://127.0.0.1:1"}
    config = Config(state_dir=home, smtp_from="swarm@example.org", http_url="https://swarm.example.org")
    secrets = secrets_of(config, environment)
    async with running(config, secrets), Client.open(home) as admin:
        environment["SWARM_SMTP_URL"] = f"smtp://127.0.0.1:{mails.port}"
        secrets.reload()
        await admin.admin.create_user(UserSpec(email="ann@example.org", name="ann", role=Role.ROLE_VIEWER))
        await admin.auth.forgot_password("ann@example.org")
        assert (await mails.mail())[0] == "ann@example.org"
