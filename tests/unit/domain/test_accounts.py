from __future__ import annotations

import pytest

from controlplane.domain import guess, lifetimes
from controlplane.domain.apikey import ApiKey, KeySpec
from controlplane.domain.call import Role
from controlplane.domain.credential import API_KEY, REFRESH, Purpose, digest_of, new_secret, well_formed
from controlplane.domain.guess import Guesses
from controlplane.domain.login import Login, expiry
from controlplane.domain.scope import AREAS, ONESELF, SCOPES, allows, needed
from controlplane.domain.user import UserSpec, email_in, hashable, name_in, new_password, role_in
from controlplane.errors import InvalidInput

NOW = 1_800_000_000.0


@pytest.mark.parametrize("prefix", [API_KEY, REFRESH, *(each.prefix for each in Purpose)])
def test_a_secret_is_well_formed_for_its_purpose_only(prefix: str) -> None:
    secret = new_secret(prefix)
    assert well_formed(secret, prefix)
    assert not any(well_formed(secret, other.prefix) for other in Purpose if other.prefix != prefix)


def test_every_typing_error_in_a_secret_is_seen() -> None:
    secret = new_secret(API_KEY)
    for place in range(len(API_KEY), len(secret)):
        for other in "0aZ_é":
            if secret[place] != other:
                assert not well_formed(secret[:place] + other + secret[place + 1 :], API_KEY)
    swapped = secret[:-1] + "\u0661"
    assert not well_formed(swapped, API_KEY)
    assert not well_formed("", API_KEY)
    assert len({digest_of(new_secret(API_KEY)) for _ in range(100)}) == 100


@pytest.mark.parametrize("text", ["", "ann", "@b", "a@", "a b@c.d", "a@b\nc", "a@b\0", "ä@b.c", "a@b..c", "a" * 255])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        email_in(text)
    assert caught.value.violations[0].field == "/email"


def test_addresses_are_one_however_they_are_written() -> None:
    assert email_in(" Ann.B+ci@Example.ORG ") == "ann.b+ci@example.org"
    assert email_in("root@localhost") == "root@localhost"


@pytest.mark.parametrize(
    ("password", "fits"),
    [
        ("", False),
        ("x" * 1024, True),
        ("x" * 1025, False),
        ("ä" * 513, False),
        ("pass\0word", False),
        ("\ud800" * 9, True),
    ],
)
def test_only_what_can_be_a_password_is_hashed(password: str, fits: bool) -> None:  # noqa: FBT001  # a row of a table
    assert hashable(password) is fits


def test_users_are_checked_as_a_whole() -> None:
    assert UserSpec("A@b.c", " n ", Role.VIEWER).checked() == UserSpec("a@b.c", "n", Role.VIEWER)
    for bad in (lambda: name_in("\x1b[31m"), lambda: role_in(Role.HOST), lambda: new_password("short")):
        with pytest.raises(InvalidInput):
            bad()


def test_pauses_grow_with_wrong_guesses_and_are_forgotten_after_a_day() -> None:
    found = Guesses("account:a")
    waits = []
    for _ in range(guess.ACCOUNT_GUESSES + 6):
        found = found.wrong(NOW)
        waits.append(found.wait(NOW))
    assert waits[: guess.ACCOUNT_GUESSES - 1] == [0.0] * (guess.ACCOUNT_GUESSES - 1)
    assert waits[guess.ACCOUNT_GUESSES - 1 :] == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]
    assert found.wait(NOW + 900) == 0
    assert found.wrong(NOW + guess.FORGOTTEN_AFTER + 1) == Guesses("account:a", 1, NOW + guess.FORGOTTEN_AFTER + 1)


def test_a_guess_before_the_limit_holds_nobody_up_whose_call_began_earlier() -> None:
    assert Guesses("account:a").wrong(NOW).wait(NOW - 5) == 0


def test_many_people_may_share_an_address_and_the_socket_has_none() -> None:
    assert guess.allowed("address:::1") > guess.allowed("account:a")
    assert guess.subjects("a", "::1") == ("account:a", "address:::1")
    assert guess.subjects("a", "") == ("account:a",)


def test_a_login_lasts_while_it_is_used_and_no_longer_than_its_limit() -> None:
    begun = Login("lg_1", "us_1", "default", "password", "curl", "::1", NOW, NOW, expiry(NOW, NOW))
    assert begun.stands(NOW + lifetimes.IDLE_LOGIN - 1)
    assert not begun.stands(NOW + lifetimes.IDLE_LOGIN)
    used = begun.used(NOW + lifetimes.LOGIN - 10, "::2", "")
    assert (used.expires_at, used.address, used.user_agent) == (NOW + lifetimes.LOGIN, "::2", "curl")


@pytest.mark.parametrize("noun", [*AREAS, "admin", "key", "auth"])
def test_scopes_open_what_they_name(noun: str) -> None:
    area, verb = f"{AREAS.get(noun, '-')}:write", "Any"
    assert allows(None, noun, verb, changes=True)
    assert allows({"admin"}, noun, verb, changes=True)
    assert allows({area}, noun, verb, changes=True) is (noun in AREAS)
    assert not allows({"read"}, noun, verb, changes=True)
    assert allows({"read"}, noun, verb, changes=False) is (noun in AREAS)
    others = set(SCOPES) - {area, "admin", "read"}
    assert not any(allows(others, noun, verb, changes=changes) for changes in (True, False))
    for changes in (True, False):
        assert allows({needed(noun, changes=changes)}, noun, verb, changes=changes)


def test_any_key_may_ask_who_it_is_and_not_where_else_its_user_is() -> None:
    asked = {verb: allows({"tickets:write"}, "auth", verb, changes=False) for verb in (*ONESELF, "ListLogins")}
    assert asked == dict.fromkeys(ONESELF, True) | {"ListLogins": False}


def test_a_key_stands_until_it_is_revoked_or_expires() -> None:
    key = ApiKey("ak_1", "us_1", "default", "ci", "d", "x", frozenset({"read"}), NOW, expires_at=NOW + 5)
    assert (key.stands(NOW), key.stands(NOW + 5)) == (True, False)
    assert KeySpec(" ci ", frozenset({"read"}), NOW + 1).checked(NOW).name == "ci"
    for bad in (KeySpec("ci", frozenset({"x"})), KeySpec("ci", frozenset()), KeySpec("ci", frozenset({"read"}), NOW)):
        with pytest.raises(InvalidInput):
            bad.checked(NOW)
