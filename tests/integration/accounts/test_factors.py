from __future__ import annotations

import asyncio
from dataclasses import dataclass

import apsw
import pytest

from swarm_sdk import Client, FailedPreconditionError, SwarmError, UnauthenticatedError
from swarm_sdk.types import Tokens
from tests.integration.accounts.people import PASSWORD, App, Town

BAD_CODES = {
    "zeros": "000000",
    "seven digits": "1234567",
    "five digits": "12345",
    "Arabic digits": "\u0661\u0662\u0663\u0664\u0665\u0666",
    "full-width digits": "\uff11\uff12\uff13\uff14\uff15\uff16",
    "a sign": "+12345",
    "blanks": "      ",
    "no recovery code": "aaaa-bbbb-cccc-dddd",
}


@dataclass
class Ann:
    """Somebody with a second factor. A new code is needed each time, so each takes the next step of its window."""

    client: Client
    app: App
    recovery: list[str]

    @classmethod
    async def of(cls, town: Town) -> Ann:
        client = await town.person("ann")
        app = App((await client.auth.enroll_totp(PASSWORD)).secret)
        return cls(client, app, list(await client.auth.confirm_totp(app.code(-1))))


async def challenge(town: Town) -> str:
    answer = await town.stranger().auth.login("ann@example.org", PASSWORD)
    assert not answer.HasField("tokens")
    return answer.challenge


async def refused(call: object, reason: str = "invalid_credentials") -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        await call  # type: ignore[misc]  # whatever the client gave
    assert caught.value.reason == reason


async def test_a_second_factor_is_enrolled_asked_for_and_given_up(town: Town) -> None:
    ann, stranger = await Ann.of(town), town.stranger()
    assert (await ann.client.auth.me()).user.totp_enabled
    assert len(set(ann.recovery)) == 10
    tokens = await stranger.auth.complete(await challenge(town), ann.app.code())
    assert (await town.stranger(tokens.access_token).auth.me()).user.name == "ann"
    await ann.client.auth.disable_totp(ann.app.code(1))
    assert (await town.tokens("ann")).access_token
    with pytest.raises(FailedPreconditionError):
        await ann.client.auth.disable_totp(ann.app.code())


async def test_a_code_is_taken_once_and_none_of_an_earlier_step_after_it(town: Town) -> None:
    ann, stranger = await Ann.of(town), town.stranger()
    code = ann.app.code()
    await stranger.auth.complete(await challenge(town), code)
    await refused(stranger.auth.complete(await challenge(town), code))
    await refused(stranger.auth.complete(await challenge(town), ann.app.code(-1)))
    await refused(ann.client.auth.disable_totp(code))
    await stranger.auth.complete(await challenge(town), ann.app.code(1))


async def test_of_parallel_uses_of_one_code_one_succeeds(town: Town) -> None:
    ann = await Ann.of(town)
    challenges = [await challenge(town) for _ in range(5)]
    code = ann.app.code()
    calls = [town.stranger().auth.complete(each, code) for each in challenges]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, Tokens) for each in found) == 1
    assert sum(isinstance(each, UnauthenticatedError) for each in found) == 4


@pytest.mark.parametrize("steps", [-3, -2, 2, 3])
async def test_codes_out_of_the_window_are_none(town: Town, steps: int) -> None:
    """One more step than the window, since the clock may move on meanwhile."""
    ann = await Ann.of(town)
    code = ann.app.code(steps + (1 if steps == 2 else 0))
    await refused(town.stranger().auth.complete(await challenge(town), code))


@pytest.mark.parametrize("code", BAD_CODES.values(), ids=BAD_CODES)
async def test_what_is_no_code_is_answered_as_a_wrong_one(town: Town, code: str) -> None:
    await Ann.of(town)
    await refused(town.stranger().auth.complete(await challenge(town), code))


async def test_a_recovery_code_logs_in_once_however_it_is_written(town: Town) -> None:
    ann, stranger = await Ann.of(town), town.stranger()
    written = ann.recovery[0].upper().replace("-", " ")
    assert (await stranger.auth.complete(await challenge(town), written)).access_token
    await refused(stranger.auth.complete(await challenge(town), ann.recovery[0]))
    rows = apsw.Connection(str(town.control.config.database)).execute("SELECT count(*) FROM recovery_code").get
    assert rows == 9


async def test_a_challenge_is_good_once_and_for_its_user_only(town: Town) -> None:
    ann, stranger = await Ann.of(town), town.stranger()
    first = await challenge(town)
    await stranger.auth.complete(first, ann.recovery[0])
    await refused(stranger.auth.complete(first, ann.recovery[1]), "invalid_challenge")
    await refused(stranger.auth.complete("swm_challenge_x", ann.recovery[1]), "invalid_challenge")
    assert (await stranger.auth.complete(await challenge(town), ann.recovery[1])).access_token


async def test_wrong_codes_lock_the_account_as_wrong_passwords_do(town: Town) -> None:
    ann, stranger = await Ann.of(town), town.stranger()
    token = await challenge(town)
    for _ in range(10):
        await refused(stranger.auth.complete(token, "000000"))
    with pytest.raises(SwarmError) as caught:
        await stranger.auth.complete(token, ann.app.code())
    assert (caught.value.code, caught.value.reason) == ("RESOURCE_EXHAUSTED", "locked_out")


async def test_a_secret_counts_only_once_it_was_confirmed(town: Town) -> None:
    client = await town.person("ann")
    with pytest.raises(FailedPreconditionError):
        await client.auth.confirm_totp("123456")
    await refused(client.auth.enroll_totp("wrong horse battery"))
    enrolled = await client.auth.enroll_totp(PASSWORD)
    assert enrolled.uri.startswith("otpauth://totp/Swarm:ann%40example.org?secret=")
    await refused(client.auth.confirm_totp("000000"))
    assert (await town.tokens("ann")).access_token
    await client.auth.confirm_totp(App(enrolled.secret).code())
    with pytest.raises(FailedPreconditionError):
        await client.auth.enroll_totp(PASSWORD)
    assert await challenge(town)


async def test_an_admin_helps_whoever_lost_everything(town: Town) -> None:
    ann = await Ann.of(town)
    user = (await ann.client.auth.me()).user
    token = await town.admin.admin.reset_user(user.id)
    await refused(ann.client.auth.me(), "login_ended")
    await town.stranger().auth.reset_password(token, PASSWORD)
    assert (await town.tokens("ann")).access_token
