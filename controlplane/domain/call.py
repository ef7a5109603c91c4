"""Who calls, and when: what every use case is told of the call it serves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

HOME: Final = "default"
"""The tenant that runs the deployment: its hosts, and what lies on them, are everybody's to use and its to change."""


class Role(IntEnum):
    """Ordered up to ADMIN: each may do what those below may. HOST stands apart and is only compared for equality."""

    PUBLIC = 1
    VIEWER = 2
    DEVELOPER = 3
    APPROVER = 4
    OPERATOR = 5
    ADMIN = 6
    HOST = 7


@dataclass(frozen=True, slots=True)
class Principal:
    """`host_id` is set for hosts only, `user_id` for people and their keys, `login_id` where they logged in.

    `scopes` narrow what an API key may do; None: nothing but the role does.
    """

    name: str
    role: Role
    tenant_id: str = HOME
    host_id: str = ""
    user_id: str = ""
    login_id: str = ""
    scopes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """`now` is the store's clock in epoch seconds, the same for all that one call does.

    `key` is the caller's idempotency key, for what makes its repetitions safe by itself; `traceparent` is what work
    that comes of it belongs to, as W3C trace context. `address` is the caller's IP address, empty on the Unix socket;
    `user_agent` is what its program says it is.
    """

    request_id: str
    principal: Principal
    now: float
    key: str = ""
    traceparent: str = ""
    address: str = ""
    user_agent: str = ""
