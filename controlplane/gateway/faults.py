"""Errors that only HTTP knows: what is wrong with a request before it is anybody's call."""

from __future__ import annotations

from aiohttp import web

from controlplane.errors import DeadlineExceeded, InvalidInput, MethodNotAllowed, SwarmError


class TooLarge(SwarmError):
    """A body beyond its limit."""

    code = "RESOURCE_EXHAUSTED"
    http_status = 413
    exit_code = 7
    default_reason = "too_large"


class TargetTooLong(InvalidInput):
    http_status = 414
    default_reason = "target_too_long"


class HeadTooLarge(InvalidInput):
    """One line of the head, or all of them, beyond their limit."""

    http_status = 431
    default_reason = "head_too_large"


class Unsupported(InvalidInput):
    """A body of another type or coding than this takes."""

    http_status = 415
    default_reason = "unsupported_media_type"


class NotAcceptable(InvalidInput):
    """The caller takes nothing that this can say."""

    http_status = 406
    default_reason = "not_acceptable"


class ExpectationFailed(InvalidInput):
    http_status = 417
    default_reason = "expectation_failed"


class UpgradeRequired(InvalidInput):
    """This speaks WebSocket only."""

    http_status = 426
    default_reason = "upgrade_required"


class Stalled(DeadlineExceeded):
    """The client says nothing, or takes nothing."""

    http_status = 408


def expect_get(request: web.BaseRequest) -> None:
    """`MethodNotAllowed` for all that is no read."""
    if request.method not in {"GET", "HEAD"}:
        raise MethodNotAllowed("this is for GET", allow=("GET", "HEAD"))
