"""Whose credentials stand: all that checking one needs, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.domain.apikey import ApiKey
from controlplane.domain.call import Role


@dataclass(frozen=True, slots=True)
class Member:
    """A user who is not shut out, nor is the tenant."""

    user_id: str
    tenant_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class Standing:
    """`members` by user id, `keys` by digest; `revoked` are the logins whose access tokens may not have expired yet.

    No access token from before `not_before` counts: a restore has voided it.
    """

    members: Mapping[str, Member] = field(default_factory=dict)
    keys: Mapping[str, ApiKey] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()
    not_before: float = 0.0
