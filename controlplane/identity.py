"""What accounts need of the outside, as protocols: their rows in the store, and the crafts of credentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from controlplane.domain.apikey import ApiKey
from controlplane.domain.credential import OneTimeToken, Purpose
from controlplane.domain.guess import Guesses
from controlplane.domain.login import Login, RefreshToken
from controlplane.domain.standing import Standing
from controlplane.domain.tenant import Tenant
from controlplane.domain.user import OauthLink, User

TOPIC: Final = "accounts"
NOT_BEFORE: Final = "logins_not_before"  # the setting behind `Standing.not_before`


class AccountReader(Protocol):
    """What `ports.Reader` reads of accounts. Look-ups by tenant take it; the others are for who asks for themself."""

    def tenant(self, tenant_id: str) -> Tenant | None: ...
    def user(self, user_id: str) -> User | None: ...
    def user_by_email(self, email: str) -> User | None: ...
    def user_of(self, tenant_id: str, user_id: str) -> User | None: ...
    def user_count(self) -> int: ...
    def recovery_codes(self, user_id: str) -> int: ...  # how many are left
    def oauth_link(self, provider: str, subject: str) -> OauthLink | None: ...
    def oauth_links(self, user_id: str) -> list[OauthLink]: ...
    def login(self, login_id: str) -> Login | None: ...
    def logins(self, user_id: str, now: float) -> list[Login]: ...  # those that stand, newest first
    def refresh_token(self, digest: str) -> RefreshToken | None: ...
    def api_key(self, user_id: str, key_id: str) -> ApiKey | None: ...
    def api_keys(self, user_id: str) -> list[ApiKey]: ...  # those not revoked, newest first
    def one_time_token(self, purpose: Purpose, digest: str, now: float) -> OneTimeToken | None: ...
    def guesses(self, subjects: Sequence[str]) -> list[Guesses]: ...
    def standing(self, now: float) -> Standing: ...


class AccountTx(AccountReader, Protocol):
    """What `ports.Tx` writes. The bus is told `accounts` of whatever changes `standing`."""

    def add_tenant(self, tenant: Tenant) -> None: ...
    def save_tenant(self, tenant: Tenant) -> None: ...
    def add_user(self, user: User) -> None: ...
    def save_user(self, user: User) -> None: ...  # all but the step of its codes
    def take_totp_step(self, user_id: str, step: int) -> bool: ...  # whether it is later than the last one taken
    def set_recovery_codes(self, user_id: str, digests: Sequence[str]) -> None: ...  # instead of those before
    def take_recovery_code(self, user_id: str, digest: str) -> bool: ...
    def add_oauth_link(self, link: OauthLink) -> None: ...
    def add_login(self, login: Login) -> None: ...
    def save_login(self, login: Login) -> None: ...
    def revoke_logins(self, user_id: str, now: float, *, but: str = "") -> int: ...  # how many stood
    def revoke_login(self, login_id: str, now: float) -> bool: ...  # whether it stood
    def add_refresh_token(self, token: RefreshToken) -> None: ...
    def take_refresh_token(self, digest: str, now: float) -> bool: ...  # compare-and-set: one caller ever gets True
    def add_api_key(self, key: ApiKey) -> None: ...
    def revoke_api_key(self, key_id: str, now: float) -> None: ...
    def api_keys_used(self, used_at: Mapping[str, float]) -> None: ...  # by id; nobody is told
    def add_one_time_token(self, token: OneTimeToken) -> None: ...
    def take_one_time_token(self, purpose: Purpose, digest: str, now: float) -> OneTimeToken | None:
        """The token, which is gone then; None for one that is not known, was taken or has expired."""
        ...

    def drop_one_time_tokens(self, purpose: Purpose, subject: str) -> None: ...
    def save_guesses(self, guesses: Guesses) -> None: ...
    def forget_guesses(self, subjects: Sequence[str]) -> None: ...
    def forget_credentials(self, now: float) -> None: ...  # what expired long enough ago that nobody asks for it


class Passwords(Protocol):
    """Slow hashes, a few at a time; RateLimited when too many wait."""

    async def hash(self, password: str) -> str: ...
    async def fits(self, hashed: str, password: str) -> bool:
        """As slow for an empty `hashed`, which nothing fits."""
        ...

    def outdated(self, hashed: str) -> bool: ...  # made with other parameters than those of today


class Codes(Protocol):
    """Time-based one-time codes (RFC 6238)."""

    def new_secret(self) -> str: ...
    def uri(self, secret: str, email: str) -> str: ...  # for authenticator apps
    def step(self, secret: str, code: str, now: float) -> int | None: ...  # the step that the code is of


class Seal(Protocol):
    """Encryption of what the database shall not know in clear. `context` is bound to it."""

    def seal(self, text: str, context: str) -> str: ...
    def open(self, sealed: str, context: str) -> str:
        """FailedPrecondition when it was sealed with another key."""
        ...


class AccessTokens(Protocol):
    def issue(self, login: Login, now: float) -> tuple[str, float]: ...  # the token and when it expires


@dataclass(frozen=True, slots=True)
class OauthProfile:
    """Whom another service says it is; `emails` are those that it has verified, the primary one first."""

    subject: str
    login: str
    name: str
    emails: tuple[str, ...]


class OauthProvider(Protocol):
    """A service that logs people in by the authorization code flow with PKCE."""

    @property
    def name(self) -> str: ...
    def authorize_url(self, state: str, challenge: str) -> str: ...
    async def profile(self, code: str, verifier: str) -> OauthProfile:
        """Unauthenticated for a code that is not good, Unavailable when the service cannot be asked."""
        ...


class Mailer(Protocol):
    async def send(self, recipient: str, subject: str, text: str, *, ident: str = "") -> None:
        """`ident` is the same for a repetition, which mail programs then show once.

        Unavailable when the mail server does not take it now, FailedPrecondition when it never will.
        """
        ...
