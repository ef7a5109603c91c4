"""Logins: a person at a device, from the password to the log-out. The tokens of one are a family."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controlplane.domain import lifetimes

LONGEST_USER_AGENT = 300


@dataclass(frozen=True, slots=True)
class Login:
    """`method` is how it began: password, github, setup. Times in epoch seconds."""

    id: str
    user_id: str
    tenant_id: str
    method: str
    user_agent: str
    address: str
    created_at: float
    used_at: float
    expires_at: float
    revoked_at: float | None = None

    def stands(self, now: float) -> bool:
        return self.revoked_at is None and now < self.expires_at

    def used(self, now: float, address: str, user_agent: str) -> Login:
        """As it is after a refresh."""
        agent = user_agent[:LONGEST_USER_AGENT] or self.user_agent
        return replace(self, used_at=now, expires_at=expiry(self.created_at, now), address=address, user_agent=agent)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """`used_at` is set once it was exchanged; who comes with it again has a copy."""

    digest: str
    login_id: str
    created_at: float
    used_at: float | None = None


def expiry(created_at: float, now: float) -> float:
    """When a login ends unless it is refreshed before."""
    return min(now + lifetimes.IDLE_LOGIN, created_at + lifetimes.LOGIN)
