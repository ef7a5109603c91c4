"""Scopes: what an API key may be used for. The role of its user is a limit besides.

`read` reads everything that is not about accounts, `AREA:write` changes (and reads) one area, `admin` is no limit. Any
key may ask who it is, and for a ticket of a socket; where else its user is logged in is none of its business.
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
ONESELF: Final = frozenset({"GetMe", "GetAvatar", "CreateWsTicket"})
SCOPES: Final = (READ, *(f"{area}{WRITE}" for area in AREAS.values()), ADMIN)


def known(scope: str) -> bool:
    return scope in SCOPES


def allows(scopes: AbstractSet[str] | None, noun: str, verb: str, *, changes: bool) -> bool:
    """Whether the method `verb` of the package `swarm.NOUN.v1` may be called; None: the credential has no scopes."""
    if scopes is None or ADMIN in scopes or verb in ONESELF:
        return True
    if noun not in AREAS:
        return False
    return f"{AREAS[noun]}{WRITE}" in scopes or (READ in scopes and not changes)


def needed(noun: str, *, changes: bool) -> str:
    """The least scope that opens a method."""
    if noun not in AREAS:
        return ADMIN
    return f"{AREAS[noun]}{WRITE}" if changes else READ
