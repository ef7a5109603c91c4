"""Scopes: what an API key may be used for. The role of its user is a limit besides.

`read` reads everything that is not about accounts, `AREA:write` changes (and reads) one area, `admin` is no limit. Any
key may ask who it is, and for a ticket of a socket.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

READ: Final = "read"
ADMIN: Final = "admin"
WRITE: Final = ":write"
# Areas by the noun of the package of a service. What is about accounts is no area: it needs `admin`.
AREAS: Final = {
    "ticket": "tickets",
    "project": "projects",
    "pullrequest": "pull_requests",
    "vm": "vms",
    "agent": "agents",
    "fleet": "fleet",
    "coordinator": "coordinator",
    "registry": "registry",
    "session": "sessions",
}
ONESELF: Final = "auth"
SCOPES: Final = (READ, *(f"{area}{WRITE}" for area in AREAS.values()), ADMIN)


def known(scope: str) -> bool:
    return scope in SCOPES


def allows(scopes: AbstractSet[str] | None, noun: str, *, changes: bool) -> bool:
    """Whether a method of the package `swarm.NOUN.v1` may be called; None: the credential has no scopes."""
    if scopes is None or ADMIN in scopes:
        return True
    if noun not in AREAS:
        return noun == ONESELF and not changes
    return f"{AREAS[noun]}{WRITE}" in scopes or (READ in scopes and not changes)
