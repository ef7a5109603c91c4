from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from controlplane.accounts import github as adapter
from controlplane.domain.credential import Purpose, new_secret
from swarm_sdk import FailedPreconditionError, PermissionDeniedError, SwarmError, UnauthenticatedError, UnavailableError
from swarm_sdk.types import Role, UserSpec
from tests.fakes.control import control_plane
from tests.fakes.github import REDIRECT, SECRET, Account, FakeGithub, fake_github
from tests.integration.accounts.conftest import UNLIMITED
from tests.integration.accounts.people import PASSWORD, App, Town

ANN = Account(7, "ann-gh", "Ann", [("spam@example.net", False, True), ("ann@example.org", True, True)])
STRANGER = Account(8, "eve-gh", None, [("eve@elsewhere.org", True, True)])
FRESH = Account(9, "new-gh", None, [("new@example.com", True, True)])


@pytest.fixture
async def github() -> AsyncIterator[FakeGithub]:
    async with fake_github() as fake:
        yield fake


@pytest.fixture
async def town(home: Path, github: FakeGithub) -> AsyncIterator[Town]:
    settings = {
        **UNLIMITED,
        **github.settings,
        "signup_domains": ("example.com",),
    }
    async with control_plane(home, **settings) as control, control.client() as admin:
        made = Town(control, admin)
        yield made
        for client in made.opened:
            await client.close()


async def back(town: Town, github: FakeGithub, account: Account | None) -> dict[str, str]:
    """What GitHub sends the browser back with."""
    started = await town.stranger().auth.start_github()
    found = github.authorize(started.url, account)
    assert found["state"] == started.state
    return found


async def test_a_known_address_logs_in_and_is_linked_from_then_on(town: Town, github: FakeGithub) -> None:
    user_id = await town.settle("ann")
    answer = await town.stranger().auth.finish_github(**await back(town, github, ANN))
    me = await town.stranger(answer.tokens.access_token).auth.me()
    assert me.user.id == user_id
    assert [each.method for each in await town.stranger(answer.tokens.access_token).auth.logins()] == ["github"]
    moved = Account(ANN.id, "ann-renamed", "Ann", [("ann@elsewhere.org", True, True)])
    again = await town.stranger().auth.finish_github(**await back(town, github, moved))
    assert again.tokens.user.id == user_id
    other = Account(70, "ann-two", "Ann", [("ann@example.org", True, True)])
    with pytest.raises(PermissionDeniedError):
        await town.stranger().auth.finish_github(**await back(town, github, other))


@pytest.mark.parametrize("emails", [[("ann@example.org", True, False)], [], [("ann@example.org.evil.net", True, True)]])
async def test_an_address_that_is_not_verified_there_opens_nothing(
    town: Town, github: FakeGithub, emails: list[tuple[str, bool, bool]]
) -> None:
    await town.settle("ann")
    with pytest.raises(PermissionDeniedError) as caught:
        await town.stranger().auth.finish_github(**await back(town, github, Account(66, "mallory", None, emails)))
    assert caught.value.reason == "no_account"


async def test_only_those_of_a_welcome_domain_get_an_account(town: Town, github: FakeGithub) -> None:
    with pytest.raises(PermissionDeniedError):
        await town.stranger().auth.finish_github(**await back(town, github, STRANGER))
    answer = await town.stranger().auth.finish_github(**await back(town, github, FRESH))
    assert (answer.tokens.user.email, answer.tokens.user.name) == ("new@example.com", "new-gh")
    assert answer.tokens.user.role == Role.ROLE_VIEWER
    assert (await town.stranger(answer.tokens.access_token).auth.me()).user.id == answer.tokens.user.id


async def test_whoever_is_shut_out_stays_out(town: Town, github: FakeGithub) -> None:
    user_id = await town.settle("ann")
    await town.admin.admin.update_user(user_id, UserSpec(disabled=True), ["disabled"])
    with pytest.raises(PermissionDeniedError):
        await town.stranger().auth.finish_github(**await back(town, github, ANN))


async def test_a_second_factor_is_asked_for_here_too(town: Town, github: FakeGithub) -> None:
    ann = await town.person("ann")
    app = App((await ann.auth.enroll_totp(PASSWORD)).secret)
    await ann.auth.confirm_totp(app.code(-1))
    answer = await town.stranger().auth.finish_github(**await back(town, github, ANN))
    assert not answer.HasField("tokens")
    tokens = await town.stranger().auth.complete(answer.challenge, app.code())
    assert (await town.stranger(tokens.access_token).auth.logins())[0].method == "github"


async def test_a_way_back_is_good_once(town: Town, github: FakeGithub) -> None:
    await town.settle("ann")
    query = await back(town, github, ANN)
    calls = [town.stranger().auth.finish_github(**query) for _ in range(4)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each for each in found if isinstance(each, UnauthenticatedError)]
    assert [each.reason for each in refused] == ["invalid_state"] * 3


@pytest.mark.parametrize("state", ["", "x", new_secret(Purpose.OAUTH_STATE.prefix), new_secret(Purpose.RESET.prefix)])
async def test_without_the_state_that_was_given_nothing_is_exchanged(
    town: Town, github: FakeGithub, state: str
) -> None:
    await town.settle("ann")
    query = await back(town, github, ANN)
    with pytest.raises(UnauthenticatedError) as caught:
        await town.stranger().auth.finish_github(state=state, code=query["code"])
    assert caught.value.reason == "invalid_state"
    assert query["code"] in github.codes


async def test_the_code_of_one_way_is_none_of_another(town: Town, github: FakeGithub) -> None:
    """PKCE: a code that was stolen from another browser does not fit."""
    await town.settle("ann")
    mine, theirs = await back(town, github, ANN), await back(town, github, ANN)
    with pytest.raises(UnauthenticatedError) as caught:
        await town.stranger().auth.finish_github(state=mine["state"], code=theirs["code"])
    assert caught.value.reason == "invalid_code"


async def test_a_person_who_refuses_is_not_logged_in(town: Town, github: FakeGithub) -> None:
    query = await back(town, github, None)
    with pytest.raises(UnauthenticatedError) as caught:
        await town.stranger().auth.finish_github(**query)
    assert caught.value.reason == "oauth_refused"
    with pytest.raises(UnauthenticatedError) as again:
        await town.stranger().auth.finish_github(state=query["state"], code="x")
    assert again.value.reason == "invalid_state"


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("bad_verification_code", UnauthenticatedError),
        ("incorrect_client_credentials", UnavailableError),
        ("redirect_uri_mismatch", UnavailableError),
        ("500", UnavailableError),
        ("404", UnavailableError),
        ("302", UnavailableError),
        ("noise", UnavailableError),
        ("hang", UnavailableError),
    ],
)
async def test_what_goes_wrong_there_has_an_answer_here(
    town: Town, github: FakeGithub, failure: str, error: type[SwarmError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "TIMEOUT", aiohttp.ClientTimeout(total=0.5))
    query = await back(town, github, ANN)
    github.failure = failure
    with pytest.raises(error) as caught:
        await town.stranger().auth.finish_github(**query)
    assert SECRET not in caught.value.message


async def test_the_redirect_uri_is_the_registered_one_and_nobody_elses_to_choose(town: Town) -> None:
    """No field of a request names it, so that a prefix or suffix of ours leads nowhere."""
    started = await town.stranger().auth.start_github()
    assert parse_qs(urlsplit(started.url).query)["redirect_uri"] == [REDIRECT]


async def test_without_an_app_the_answer_says_so(home: Path) -> None:
    async with control_plane(home / "plain", **UNLIMITED) as control, control.client() as admin:
        for call in (admin.auth.start_github(), admin.auth.finish_github(state="x", code="y")):
            with pytest.raises(FailedPreconditionError) as caught:
                await call
            assert caught.value.reason == "github_not_configured"
