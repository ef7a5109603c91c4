"""Access tokens that others made, and tickets of sockets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controlplane.accounts.access import JwtAccessTokens
from controlplane.accounts.authenticator import Authenticator
from controlplane.accounts.live import Live
from controlplane.accounts.signing import SigningKeys
from controlplane.accounts.tokens import Tokens
from controlplane.domain import lifetimes
from controlplane.domain.login import Login
from controlplane.errors import StartError, Unauthenticated
from controlplane.events.bus import LocalBus
from controlplane.stores.sqlite import SqliteStore
from swarm_sdk import SwarmError, UnauthenticatedError
from swarm_sdk.types import Role
from tests.fakes.control import control_plane
from tests.integration.accounts.conftest import UNLIMITED
from tests.integration.accounts.people import Town

Forge = Callable[["Forger"], str]


class Forger:
    """Knows a good token, and the key that signed it."""

    def __init__(self, good: str, private: Ed25519PrivateKey) -> None:
        self.good = good
        self.private = private
        self.header = jwt.get_unverified_header(good)
        self.claims: dict[str, Any] = jwt.decode(good, options={"verify_signature": False})

    def signed(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """By our own key; a claim that is None is left out."""
        payload = {key: value for key, value in (self.claims | claims).items() if value is not None}
        head = encoded(self.header | (header or {})) + "." + encoded(payload)
        return head + "." + base64.urlsafe_b64encode(self.private.sign(head.encode())).decode().rstrip("=")

    def unsigned(self) -> str:
        return f"{encoded(self.header | {'alg': 'none'})}.{encoded(self.claims)}."

    def by_public_key(self) -> str:
        """HS256 with the bytes of the public key as the secret."""
        public = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        head = encoded(self.header | {"alg": "HS256"}) + "." + encoded(self.claims)
        return head + "." + base64.urlsafe_b64encode(hmac.digest(public, head.encode(), hashlib.sha256)).decode()

    def by_another_key(self, **header: Any) -> str:
        return jwt.encode(self.claims, Ed25519PrivateKey.generate(), "EdDSA", self.header | header)


def encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


FORGED: dict[str, Forge] = {
    "alg none": Forger.unsigned,
    "alg HS256 with the public key": Forger.by_public_key,
    "another key": Forger.by_another_key,
    "an unknown kid": lambda forger: forger.by_another_key(kid="0123456789abcdef"),
    "no kid": lambda forger: forger.by_another_key(kid=""),
    "kid as a path": lambda forger: forger.by_another_key(kid="../../../../dev/null"),
    "kid as SQL": lambda forger: forger.by_another_key(kid="' UNION SELECT 1 --"),
    "kid a number": lambda forger: forger.signed({"kid": 7}),
    "jku": lambda forger: forger.signed({"jku": "http://127.0.0.1:9/keys"}),
    "x5u": lambda forger: forger.signed({"x5u": "http://127.0.0.1:9/chain"}),
    "jwk": lambda forger: forger.signed({"jwk": {"kty": "OKP"}}),
    "crit": lambda forger: forger.signed({"crit": ["exp"]}),
    "typ JWT": lambda forger: forger.signed({"typ": "JWT"}),
    "no exp": lambda forger: forger.signed(exp=None),
    "exp as a string": lambda forger: forger.signed(exp=str(forger.claims["exp"])),
    "exp as a fraction": lambda forger: forger.signed(exp=forger.claims["exp"] + 0.5),
    "exp true": lambda forger: forger.signed(exp=True),
    "exp passed": lambda forger: forger.signed(iat=int(time.time()) - 20, exp=int(time.time()) - 10),
    "exp in ten years": lambda forger: forger.signed(exp=forger.claims["exp"] + 315_360_000),
    "iat ahead": lambda forger: forger.signed(iat=int(time.time()) + 300, exp=int(time.time()) + 500),
    "no iat": lambda forger: forger.signed(iat=None),
    "aud as a list": lambda forger: forger.signed(aud=[forger.claims["aud"]]),
    "another aud": lambda forger: forger.signed(aud="swarm-host"),
    "another iss": lambda forger: forger.signed(iss="somebody"),
    "no sub": lambda forger: forger.signed(sub=None),
    "sub a number": lambda forger: forger.signed(sub=1),
    "no jti": lambda forger: forger.signed(jti=None),
    "a changed claim": lambda forger: ".".join(
        (forger.good.split(".")[0], encoded(forger.claims | {"sub": "us_0"}), forger.good.split(".")[2])
    ),
    "no signature": lambda forger: forger.good.rpartition(".")[0] + ".",
    "a nested JWE": lambda forger: f"{encoded({'alg': 'dir', 'enc': 'A256GCM'})}..AAAA.AAAA.AAAA",
    "too many parts": lambda forger: forger.good + ".x",
    "deep JSON": lambda _: f"eyJ{base64.urlsafe_b64encode(b'[' * 600).decode()}.e30.e30",
    "nothing but a prefix": lambda _: "eyJ",
}


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
async def forger(town: Town) -> Forger:
    await town.settle("ann")
    good = (await town.tokens("ann")).access_token
    forger = Forger(good, SigningKeys(town.control.config.state_dir).newest.private)
    # The forger could sign: only what each case changes makes the difference.
    assert (await town.stranger(forger.signed(jti="another")).auth.me()).user.name == "ann"
    return forger


async def test_no_forged_token_is_taken_and_all_are_answered_alike(town: Town, forger: Forger) -> None:
    answers = {}
    for name, forge in FORGED.items():
        with pytest.raises(UnauthenticatedError) as caught:
            await town.stranger(forge(forger)).auth.me()
        answers[name] = (caught.value.message, caught.value.reason)
    assert answers == dict.fromkeys(FORGED, ("the access token is not valid", "invalid_token"))


async def test_http_and_sockets_answer_forged_tokens_alike_too(town: Town, forger: Forger) -> None:
    said, opened = {}, {}
    async with aiohttp.ClientSession(town.control.url) as web:
        for name, forge in FORGED.items():
            token = forge(forger)
            async with web.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"}) as answer:
                said[name] = answer.status, (await answer.json())["message"]
            async with web.get("/ws", params={"token": token}, headers=UPGRADE) as answer:
                opened[name] = answer.status, (await answer.json())["message"]
        async with web.get("/api/auth/me", headers={"Authorization": "Bearer " + "x" * (1 << 20)}) as answer:
            assert answer.status == 431
    assert said == opened == dict.fromkeys(FORGED, (401, "the access token is not valid"))


async def test_a_token_of_a_megabyte_does_not_pass_the_transport(town: Town, forger: Forger) -> None:
    with pytest.raises(Exception) as caught:
        await town.stranger(forger.good + "x" * (1 << 20)).auth.me()
    assert getattr(caught.value, "code", "") in {"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"}
    with pytest.raises(UnauthenticatedError):
        await town.stranger(forger.good + "x" * 4096).auth.me()
    assert (await town.stranger(forger.good).auth.me()).user.name == "ann"


async def test_credentials_of_one_kind_are_none_of_another(town: Town) -> None:
    ann = await town.person("ann")
    tokens, key = await town.tokens("ann"), await ann.keys.create("ci", ["admin"])
    for wrong in (tokens.refresh_token, await ann.auth.ws_ticket(), key.secret.replace("swm_key", "swm_adm")):
        with pytest.raises(UnauthenticatedError):
            await town.stranger(wrong).auth.me()
    for wrong in (tokens.access_token, key.secret):
        with pytest.raises(SwarmError) as caught:
            await town.stranger().auth.refresh(wrong)
        assert caught.value.code in {"UNAUTHENTICATED", "INVALID_ARGUMENT"}


async def test_tokens_of_the_last_key_are_taken_until_they_expire(tmp_path: Path) -> None:
    keys, now = SigningKeys(tmp_path), 1_800_000_000.0
    keys.rotate(now)
    tokens = JwtAccessTokens(keys)
    before, _ = tokens.issue(a_login(now), now)
    assert not keys.due(now + lifetimes.SIGNING_KEY)
    assert keys.due(now + lifetimes.SIGNING_KEY + 1)
    keys.rotate(now + 60)
    after, _ = JwtAccessTokens(keys).issue(a_login(now), now + 60)
    assert jwt.get_unverified_header(before)["kid"] != jwt.get_unverified_header(after)["kid"]
    reader = JwtAccessTokens(SigningKeys(tmp_path))  # as after a restart
    assert reader.read(before, now + 61) == reader.read(before, now + 62)
    keys.rotate(now + 60 + 2 * lifetimes.ACCESS)
    with pytest.raises(Unauthenticated):
        JwtAccessTokens(SigningKeys(tmp_path)).read(before, now + 61)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "signing").iterdir()] == [0o600] * 2


def test_a_signing_key_that_others_can_read_refuses_the_start(tmp_path: Path) -> None:
    SigningKeys(tmp_path).rotate(1.0)
    for path in (tmp_path / "signing").iterdir():
        path.chmod(0o644)
    with pytest.raises(StartError, match="chmod 600"):
        SigningKeys(tmp_path)


def a_login(now: float) -> Login:

    return Login("lg_1", "us_1", "default", "password", "", "", now, now, now + lifetimes.LOGIN)


@pytest.mark.parametrize("asks", ["a person", "a key", "the admin"])
async def test_a_ticket_stands_for_whoever_asked_once(home: Path, asks: str) -> None:
    async with control_plane(home, **UNLIMITED) as control, control.client() as admin:
        town = Town(control, admin)
        ann = await town.person("ann", Role.ROLE_OPERATOR)
        caller = {"a person": ann, "the admin": admin}.get(asks) or town.stranger(
            (await ann.keys.create("ci", ["read"])).secret
        )
        name, ticket = (await caller.auth.me()).principal, await caller.auth.ws_ticket()
        for client in town.opened:
            await client.close()
    async with at_rest(home) as authenticator:
        principal = await authenticator.authenticate_ticket(ticket)
        assert principal.name == name
        assert principal.scopes == (frozenset({"read"}) if asks == "a key" else None)
        assert authenticator.again(principal) == principal
        for bad in (ticket, ticket[:-1] + "0", "", "x" * 5000):
            with pytest.raises(Unauthenticated):
                await authenticator.authenticate_ticket(bad)


async def test_a_ticket_is_void_once_its_login_has_ended(home: Path) -> None:
    async with control_plane(home, **UNLIMITED) as control, control.client() as admin:
        town = Town(control, admin)
        ann = await town.person("ann")
        ticket = await ann.auth.ws_ticket()
        await ann.auth.logout()
        for client in town.opened:
            await client.close()
    async with at_rest(home) as authenticator:
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate_ticket(ticket)


class at_rest:  # noqa: N801  # read as a verb
    """The authenticator of a control plane that does not run, as the edge of sockets would use it."""

    def __init__(self, home: Path) -> None:
        bus = LocalBus()
        self.store = SqliteStore(home / "controlplane.db", bus)
        self.live = Live(self.store, bus)
        self.made = Authenticator(Tokens(home), JwtAccessTokens(SigningKeys(home)), self.live, self.store)

    async def __aenter__(self) -> Authenticator:
        await self.store.open()
        await self.live.start()
        return self.made

    async def __aexit__(self, *_: object) -> None:
        await self.live.stop()
        await self.store.close()
