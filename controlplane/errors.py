"""One tree of errors. Each class owns its gRPC code name, HTTP status and CLI exit code; edges map it in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault of an input: `field` is a JSON pointer into what the caller sent."""

    field: str
    description: str


class SwarmError(Exception):
    """Root. `reason` is stable and meant for programs, the message for people."""

    code: ClassVar[str] = "INTERNAL"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    default_reason: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        violations: tuple[Violation, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.violations = violations
        self.retry_after_s = retry_after_s


class InvalidInput(SwarmError):
    """The caller sent something that can never be right."""

    code = "INVALID_ARGUMENT"
    http_status = 400
    exit_code = 2
    default_reason = "invalid_input"


class Unauthenticated(SwarmError):
    """No credential, or one that is not known."""

    code = "UNAUTHENTICATED"
    http_status = 401
    exit_code = 4
    default_reason = "unauthenticated"


class Forbidden(SwarmError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"
    http_status = 403
    exit_code = 4
    default_reason = "forbidden"


class NotFound(SwarmError):
    """No such thing, or not the caller's."""

    code = "NOT_FOUND"
    http_status = 404
    exit_code = 3
    default_reason = "not_found"


class MethodNotAllowed(SwarmError):
    """The path is there, for other HTTP methods: those in `allow`."""

    code = "UNIMPLEMENTED"
    http_status = 405
    exit_code = 1
    default_reason = "method_not_allowed"

    def __init__(self, message: str, *, allow: tuple[str, ...] = (), **said: Any) -> None:
        super().__init__(message, **said)
        self.allow = allow


class AlreadyExists(SwarmError):
    """The name is taken."""

    code = "ALREADY_EXISTS"
    http_status = 409
    exit_code = 5
    default_reason = "already_exists"


class Conflict(SwarmError):
    """The same idempotency key came with another body, or a concurrent write won."""

    code = "ABORTED"
    http_status = 409
    exit_code = 5
    default_reason = "conflict"


class FailedPrecondition(SwarmError):
    """Right in itself, not in the present state; a stale fence is one."""

    code = "FAILED_PRECONDITION"
    http_status = 400
    exit_code = 5
    default_reason = "failed_precondition"


class StaleFence(FailedPrecondition):
    """A write that carries a fence which is over."""

    default_reason = "stale_fence"


class RateLimited(SwarmError):
    """Too many calls, or a queue that is full."""

    code = "RESOURCE_EXHAUSTED"
    http_status = 429
    exit_code = 7
    default_reason = "rate_limited"


class DiskFull(RateLimited):
    """There is no space for it on the control plane's disk. Nothing was changed; it works again once there is."""

    default_reason = "disk_full"


class Unavailable(SwarmError):
    """Something needed is away for now; trying again may help."""

    code = "UNAVAILABLE"
    http_status = 503
    exit_code = 6
    default_reason = "unavailable"


class DeadlineExceeded(SwarmError):
    """The work took longer than its deadline."""

    code = "DEADLINE_EXCEEDED"
    http_status = 504
    exit_code = 6
    default_reason = "deadline_exceeded"


class Unimplemented(SwarmError):
    """The method does not exist here."""

    code = "UNIMPLEMENTED"
    http_status = 501
    exit_code = 1
    default_reason = "unimplemented"


class StartError(SwarmError):
    """The process cannot start as configured; never leaves a half start behind."""

    exit_code = 2
    default_reason = "start_refused"
