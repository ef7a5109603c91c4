"""What use cases of accounts are given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from controlplane.domain.user import User
from controlplane.identity import AccessTokens, AccountReader, Codes, OauthProvider, Passwords, Seal
from controlplane.ports import Store


@dataclass(frozen=True, slots=True)
class Accounts:
    """`refresh` has what was committed count before somebody is answered.

    `mails`: whether there is a mail server. `github` is None where nobody logs in with it; those whose verified address
    is of one of the `signup_domains` get an account that way.
    """

    store: Store
    passwords: Passwords
    codes: Codes
    seal: Seal
    access: AccessTokens
    refresh: Callable[[], Awaitable[None]]
    mails: bool = False
    github: OauthProvider | None = None
    signup_domains: tuple[str, ...] = ()


def active(reader: AccountReader, user: User | None) -> User | None:
    """The user, unless that user or its tenant is shut out."""
    if user is None or user.disabled_at is not None:
        return None
    tenant = reader.tenant(user.tenant_id)
    return user if tenant and tenant.disabled_at is None else None
