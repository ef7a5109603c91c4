"""Access tokens: JWTs that say who logged in, and nothing that could change before they expire (RFC 8725, RFC 9068)."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from controlplane.accounts.signing import SigningKeys
from controlplane.domain import lifetimes
from controlplane.domain.login import Login
from controlplane.errors import Unauthenticated

ALGORITHM: Final = "EdDSA"
TYPE: Final = "at+jwt"
ISSUER: Final = "swarm"
AUDIENCE: Final = "swarm-api"
LONGEST: Final = 2048
CLOCK_SKEW_S: Final = 5.0
REMEMBERED: Final = 4096
STRINGS: Final = ("sub", "sid", "jti")
TIMES: Final = ("iat", "exp")


@dataclass(frozen=True, slots=True)
class Claims:
    user_id: str
    login_id: str
    issued_at: float
    expires_at: float


class JwtAccessTokens:
    """Implements identity.AccessTokens, and reads what it issued. What was good is remembered until it expires."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys
        self._known: OrderedDict[str, Claims] = OrderedDict()

    def issue(self, login: Login, now: float) -> tuple[str, float]:
        key = self._keys.newest
        expires_at = int(min(now + lifetimes.ACCESS, login.expires_at))
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": login.user_id,
            "sid": login.id,
            "iat": int(now),
            "exp": expires_at,
            "jti": secrets.token_urlsafe(12),
        }
        token = jwt.encode(claims, key.private, ALGORITHM, {"typ": TYPE, "kid": key.kid})
        return token, float(expires_at)

    def read(self, token: str, now: float) -> Claims:
        """What a token says; `Unauthenticated` in one form for every way in which it can be wrong."""
        claims = self._known.get(token) or self._verified(token)
        if not claims.issued_at - CLOCK_SKEW_S <= now < claims.expires_at:
            self._known.pop(token, None)
            raise invalid()
        return claims

    def _verified(self, token: str) -> Claims:
        if len(token) > LONGEST:
            raise invalid()
        try:
            payload = self._payload(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise invalid() from None
        claims = claims_of(payload)
        self._known[token] = claims
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return claims

    def _payload(self, token: str) -> Mapping[str, Any]:
        """The key comes from our own set and fixes the algorithm; a header that says more than ours is none of ours."""
        header = jwt.get_unverified_header(token)
        kid = header.get("kid")
        key = self._keys.find(kid) if isinstance(kid, str) else None
        if key is None or header != {"alg": ALGORITHM, "typ": TYPE, "kid": kid}:
            raise invalid()
        payload: Mapping[str, Any] = jwt.decode(
            token,
            key.public,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={
                "require": ["iss", "aud", *STRINGS, *TIMES],
                "strict_aud": True,
                # Times are looked at in `claims_of`: the library takes "1" for one, and has a clock of its own.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        return payload


def claims_of(payload: Mapping[str, Any]) -> Claims:
    strings = [payload.get(name) for name in STRINGS]
    times = [payload.get(name) for name in TIMES]
    if not all(type(each) is str and each for each in strings) or not all(type(each) is int for each in times):
        raise invalid()
    claims = Claims(payload["sub"], payload["sid"], float(payload["iat"]), float(payload["exp"]))
    if not 0 < claims.expires_at - claims.issued_at <= lifetimes.ACCESS:
        raise invalid()
    return claims


def invalid() -> Unauthenticated:
    return Unauthenticated("the access token is not valid", reason="invalid_token")
