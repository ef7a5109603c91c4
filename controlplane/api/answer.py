"""What is told with an answer besides its message: request id, trace, rate limit. gRPC has it as trailing metadata.

An edge calls `begin` before the dispatcher and sends what is in the mapping then: once a unary call is answered or
refused, and for a stream with its first message or error. It is one object for all tasks that work on the call.
"""

from __future__ import annotations

from contextvars import ContextVar

_told: ContextVar[dict[str, str] | None] = ContextVar("told", default=None)


def begin() -> dict[str, str]:
    """Headers of the answer to this call, lower-case; filled while it is worked on."""
    headers: dict[str, str] = {}
    _told.set(headers)
    return headers


def told() -> dict[str, str]:
    """Where the call that is worked on says something; of an edge that does not care, nowhere."""
    headers = _told.get()
    return begin() if headers is None else headers
