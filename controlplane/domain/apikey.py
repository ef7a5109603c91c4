"""API keys: what programs authenticate with, as their user and never with more rights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controlplane.domain import lifetimes
from controlplane.domain.scope import SCOPES, known
from controlplane.domain.user import name_in, refused

HINT_CHARACTERS: Final = 4
MOST_KEYS: Final = 100  # of one user


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`hint` is the end of the key, by which people tell theirs apart. No `expires_at`: good until it is revoked."""

    id: str
    user_id: str
    tenant_id: str
    name: str
    digest: str
    hint: str
    scopes: frozenset[str]
    created_at: float
    expires_at: float | None = None
    used_at: float | None = None
    revoked_at: float | None = None

    def stands(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class KeySpec:
    """What somebody wants of a new key."""

    name: str
    scopes: frozenset[str]
    expires_at: float | None = None

    def checked(self, now: float) -> KeySpec:
        """The same, or `InvalidInput` for a name, scope or time that cannot be."""
        if unknown := sorted(scope for scope in self.scopes if not known(scope)):
            raise refused("/spec/scopes", f"there is no scope {unknown[0]}: take some of {', '.join(SCOPES)}")
        if not self.scopes:
            raise refused("/spec/scopes", "name at least one scope")
        if self.expires_at is not None and not now < self.expires_at <= now + lifetimes.LONGEST_API_KEY:
            raise refused("/spec/expires_at", "must lie in the next ten years")
        return KeySpec(name_in(self.name, "/spec/name"), self.scopes, self.expires_at)
