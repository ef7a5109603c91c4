from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain import lifetimes
from controlplane.domain.apikey import ApiKey
from controlplane.domain.call import Role
from controlplane.domain.credential import OneTimeToken, Purpose
from controlplane.domain.guess import Guesses
from controlplane.domain.login import Login, RefreshToken
from controlplane.domain.tenant import Tenant
from controlplane.domain.user import OauthLink, User
from controlplane.errors import AlreadyExists
from controlplane.events.bus import LocalBus
from controlplane.ports import Page, Store
from tests.fakes.seeds import NOW
from tests.fakes.units import all_of

ANN = User("us_1", "default", "ann@example.org", "Ann", Role.ADMIN, NOW, "hash")
BOB = User("us_2", "other", "bob@example.org", "Bob", Role.VIEWER, NOW)
OTHER = Tenant("other", "Other", NOW)
KEY = ApiKey("ak_1", ANN.id, "default", "ci", "d1", "abcd", frozenset({"read"}), NOW)


def login(number: int, user: User = ANN) -> Login:
    return Login(f"lg_{number}", user.id, user.tenant_id, "password", "curl", "::1", NOW, NOW, NOW + 100)


@pytest.fixture
async def peopled(store: Store) -> Store:
    await store.write(all_of(lambda tx: tx.add_tenant(OTHER), lambda tx: tx.add_user(ANN), lambda tx: tx.add_user(BOB)))
    return store


async def test_tenants_and_users_are_kept_and_found(peopled: Store) -> None:
    store = peopled
    changed = replace(ANN, name="Anna", role=Role.OPERATOR, totp="sealed", totp_at=NOW)
    await store.write(lambda tx: tx.save_user(changed))
    assert await store.read(lambda reader: reader.user(ANN.id)) == changed
    assert await store.read(lambda reader: reader.user_by_email(ANN.email)) == changed
    assert await store.read(lambda reader: reader.user_of("other", ANN.id)) is None
    assert (await store.read(lambda reader: reader.users("other", Page())))[0] == [BOB]
    assert [each.id for each in (await store.read(lambda reader: reader.tenants(Page())))[0]] == ["default", "other"]
    with pytest.raises(AlreadyExists):
        await store.write(lambda tx: tx.add_user(replace(BOB, id="us_3")))
    with pytest.raises(AlreadyExists):
        await store.write(lambda tx: tx.add_tenant(OTHER))


async def test_a_step_and_a_recovery_code_are_taken_once(peopled: Store) -> None:
    store = peopled
    await store.write(lambda tx: tx.set_recovery_codes(ANN.id, ["a", "b"]))
    assert await store.write(lambda tx: [tx.take_totp_step(ANN.id, step) for step in (7, 7, 6, 8)]) == [
        True,
        False,
        False,
        True,
    ]
    assert await store.write(lambda tx: [tx.take_recovery_code(ANN.id, code) for code in "aab"]) == [True, False, True]
    assert await store.read(lambda reader: reader.recovery_codes(ANN.id)) == 0
    # Saving a user that was read earlier gives no step back.
    await store.write(lambda tx: tx.save_user(ANN))
    assert not await store.write(lambda tx: tx.take_totp_step(ANN.id, 8))


async def test_refresh_and_one_time_tokens_are_taken_once(peopled: Store) -> None:
    store = peopled
    reset = OneTimeToken("d", Purpose.RESET, ANN.id, NOW + 10, "data")
    await store.write(
        all_of(
            lambda tx: tx.add_login(login(1)),
            lambda tx: tx.add_refresh_token(RefreshToken("r", "lg_1", NOW)),
            lambda tx: tx.add_one_time_token(reset),
        )
    )
    assert await store.write(lambda tx: (tx.take_refresh_token("r", NOW), tx.take_refresh_token("r", NOW))) == (
        True,
        False,
    )
    assert await store.read(lambda reader: reader.refresh_token("r")) == RefreshToken("r", "lg_1", NOW, NOW)
    assert await store.write(lambda tx: tx.take_one_time_token(Purpose.SETUP, "d", NOW)) is None
    assert await store.write(lambda tx: tx.take_one_time_token(Purpose.RESET, "d", NOW + 10)) is None
    assert await store.write(lambda tx: tx.take_one_time_token(Purpose.RESET, "d", NOW)) == reset
    assert await store.write(lambda tx: tx.take_one_time_token(Purpose.RESET, "d", NOW)) is None


async def test_what_stands_follows_whoever_is_revoked_or_shut_out(peopled: Store, bus: LocalBus) -> None:
    store = peopled
    await store.write(all_of(lambda tx: tx.add_login(login(1)), lambda tx: tx.add_login(login(2))))
    await store.write(lambda tx: tx.add_api_key(KEY))
    before = await store.read(lambda reader: reader.standing(NOW))
    assert (set(before.members), dict(before.keys), before.revoked) == ({"us_1", "us_2"}, {"d1": KEY}, frozenset())
    heard = bus.subscribe("accounts")
    await store.write(lambda tx: tx.revoke_logins(ANN.id, NOW, but="lg_2"))
    assert await anext(heard) == {"accounts"}
    await store.write(lambda tx: tx.revoke_api_key(KEY.id, NOW))
    await store.write(lambda tx: tx.save_tenant(replace(OTHER, disabled_at=NOW)))
    after = await store.read(lambda reader: reader.standing(NOW))
    assert (set(after.members), dict(after.keys), after.revoked) == ({"us_1"}, {}, frozenset({"lg_1"}))
    assert await store.read(lambda reader: reader.logins(ANN.id, NOW)) == [login(2)]
    assert await store.read(lambda reader: reader.api_keys(ANN.id)) == []


async def test_what_is_long_over_is_forgotten(peopled: Store) -> None:
    store, later = peopled, NOW + 40 * lifetimes.DAY
    link = OauthLink("github", "7", ANN.id, "ann", NOW)
    await store.write(
        all_of(
            lambda tx: tx.add_login(login(1)),
            lambda tx: tx.add_refresh_token(RefreshToken("r", "lg_1", NOW)),
            lambda tx: tx.add_one_time_token(OneTimeToken("d", Purpose.RESET, ANN.id, NOW + 10)),
            lambda tx: tx.save_guesses(Guesses("account:a", 3, NOW, NOW)),
            lambda tx: tx.add_oauth_link(link),
        )
    )
    await store.write(lambda tx: tx.forget_credentials(later))
    assert await store.read(lambda reader: reader.login("lg_1")) is None
    assert await store.read(lambda reader: reader.refresh_token("r")) is None
    assert await store.read(lambda reader: reader.guesses(["account:a"])) == []
    assert await store.read(lambda reader: reader.oauth_link("github", "7")) == link
