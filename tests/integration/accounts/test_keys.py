from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.domain.credential import API_KEY, checksum, new_secret, well_formed
from swarm_sdk import PermissionDeniedError, SwarmError, TicketSpec, UnauthenticatedError
from swarm_sdk.types import ProjectSpec, Role, UserSpec
from tests.fakes.control import eventually
from tests.integration.accounts.people import Town


async def test_a_key_works_as_its_user_is_shown_once_and_revoked_at_once(town: Town) -> None:
    ann = await town.person("ann")
    made = await ann.keys.create("ci", ["tickets:write", "read"])
    assert made.secret.startswith("swm_key_")
    assert made.secret.endswith(made.key.hint)
    program = town.stranger(made.secret)
    await program.tickets.create(TicketSpec(title="hello", agent="echo"))
    assert [each.id for each in await ann.keys.list()] == [made.key.id]
    assert made.secret not in str(await ann.keys.list())
    await ann.keys.revoke(made.key.id)
    with pytest.raises(UnauthenticatedError) as caught:
        await program.tickets.list()
    assert caught.value.reason == "invalid_key"
    assert not await ann.keys.list()
    with pytest.raises(SwarmError) as gone:
        await ann.keys.revoke(made.key.id)
    assert gone.value.code == "NOT_FOUND"


async def test_scopes_and_the_role_of_the_user_are_limits_both(town: Town) -> None:
    ann = await town.person("ann")
    reader = town.stranger((await ann.keys.create("r", ["read"])).secret)
    writer = town.stranger((await ann.keys.create("w", ["tickets:write"])).secret)
    whole = town.stranger((await ann.keys.create("a", ["admin"])).secret)
    spec = TicketSpec(title="hello", agent="echo")
    assert not await reader.tickets.list()
    assert (await writer.tickets.create(spec)).key == "TKT-001"
    assert len(await writer.tickets.list()) == 1
    assert (await whole.tickets.create(spec)).key == "TKT-002"
    assert (await whole.auth.me()).scopes == ["admin"]
    for refused in (
        reader.tickets.create(spec),
        reader.auth.logout(),
        reader.keys.list(),
        writer.projects.list(),
        writer.projects.create(ProjectSpec(name="p")),
        writer.keys.create("more", ["admin"]),
        whole.admin.users(),
        whole.hosts.cordon("local"),
    ):
        with pytest.raises(PermissionDeniedError):
            await refused
    user = (await ann.auth.me()).user
    await town.admin.admin.update_user(user.id, UserSpec(role=Role.ROLE_VIEWER), ["role"])
    with pytest.raises(PermissionDeniedError):
        await whole.tickets.create(spec)
    await town.admin.admin.update_user(user.id, UserSpec(disabled=True), ["disabled"])
    with pytest.raises(UnauthenticatedError):
        await whole.tickets.list()


def misspelt(secret: str) -> str:
    return secret[:20] + ("a" if secret[20] != "a" else "b") + secret[21:]


async def test_wrong_keys_are_answered_alike(town: Town) -> None:
    ann = await town.person("ann")
    secret = (await ann.keys.create("ci", ["read"])).secret
    unknown = new_secret(API_KEY)
    assert well_formed(unknown, API_KEY)
    assert not well_formed(misspelt(secret), API_KEY)
    other = secret.replace("swm_key_", "swm_kex_")
    answers = set()
    for wrong in (misspelt(secret), unknown, secret[:-1], secret + "0", API_KEY, API_KEY + "x" * 400):
        with pytest.raises(UnauthenticatedError) as caught:
            await town.stranger(wrong).tickets.list()
        answers.add((caught.value.message, caught.value.reason))
    assert len(answers) == 1
    for wrong in (other, other[:-6] + checksum(other[:-6])):
        with pytest.raises(UnauthenticatedError):
            await town.stranger(wrong).tickets.list()


async def test_a_key_ends_when_it_expires(town: Town) -> None:
    ann = await town.person("ann")
    made = await ann.keys.create("ci", ["read"], expires_at=datetime.now(UTC) + timedelta(seconds=2))
    program = town.stranger(made.secret)
    await program.tickets.list()

    async def taken() -> bool:
        try:
            await program.tickets.list()
        except UnauthenticatedError:
            return False
        return True

    await eventually(taken, wanted=False, within_s=10)
    for wrong in (datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC) + timedelta(days=9000)):
        with pytest.raises(SwarmError) as caught:
            await ann.keys.create("late", ["read"], expires_at=wrong)
        assert caught.value.violations[0].field == "/spec/expires_at"


@pytest.mark.parametrize(
    ("name", "scopes"),
    [("ci", ["everything"]), ("ci", []), ("", ["read"]), (" ", ["read"]), ("a\nb", ["read"]), ("ci", ["read"] * 2)],
)
async def test_a_key_without_sense_is_refused(town: Town, name: str, scopes: list[str]) -> None:
    ann = await town.person("ann")
    with pytest.raises(SwarmError) as caught:
        await ann.keys.create(name, scopes)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert {each.field.split("/")[1] for each in caught.value.violations} == {"spec"}


async def test_an_unknown_scope_is_told_which_there_are(town: Town) -> None:
    ann = await town.person("ann")
    with pytest.raises(SwarmError, match=r"no scope everything: take some of read, tickets:write, .*, admin"):
        await ann.keys.create("ci", ["everything"])


async def test_keys_are_their_users_own(town: Town) -> None:
    ann, bob = await town.person("ann"), await town.person("bob", Role.ROLE_ADMIN)
    key = (await ann.keys.create("ci", ["read"])).key
    with pytest.raises(SwarmError) as caught:
        await bob.keys.revoke(key.id)
    assert caught.value.code == "NOT_FOUND"
    assert not await bob.keys.list()


async def test_when_a_key_was_used_is_noted_in_time(town: Town) -> None:
    ann = await town.person("ann")
    made = await ann.keys.create("ci", ["read"])
    await asyncio.gather(*(town.stranger(made.secret).tickets.list() for _ in range(3)))
    await ann.keys.create("another", ["read"])  # any change of accounts takes the notes along

    async def used() -> bool:
        return next(each for each in await ann.keys.list() if each.id == made.key.id).HasField("last_used_at")

    await eventually(used, wanted=True, within_s=10)
