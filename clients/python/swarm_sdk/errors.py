"""What a call can end with. One class per canonical code; each knows the exit code of a command line program."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc.aio import AioRpcError

STATUS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """`field` is a JSON pointer into the request, or into the spec card that it carried."""

    field: str
    description: str


class SwarmError(Exception):
    """Root. `reason` is stable and meant for programs, `message` for people, `request_id` for the server's log."""

    code: ClassVar[str] = "UNKNOWN"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        request_id: str = "",
        violations: tuple[FieldViolation, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.request_id = request_id
        self.violations = violations
        self.retry_after_s = retry_after_s


class InternalError(SwarmError):
    """The control plane failed; its log has more under `request_id`."""

    code = "INTERNAL"


class InvalidArgumentError(SwarmError):
    """The request can never be right; `violations` say where."""

    code = "INVALID_ARGUMENT"
    exit_code = 2


class NotFoundError(SwarmError):
    code = "NOT_FOUND"
    exit_code = 3


class UnauthenticatedError(SwarmError):
    """No token, or one that the control plane does not know."""

    code = "UNAUTHENTICATED"
    exit_code = 4


class PermissionDeniedError(SwarmError):
    code = "PERMISSION_DENIED"
    exit_code = 4


class FailedPreconditionError(SwarmError):
    """Right in itself, not in the present state."""

    code = "FAILED_PRECONDITION"
    exit_code = 5


class AlreadyExistsError(SwarmError):
    code = "ALREADY_EXISTS"
    exit_code = 5


class AbortedError(SwarmError):
    """A concurrent write won, or an idempotency key came back with another request."""

    code = "ABORTED"
    exit_code = 5


class UnavailableError(SwarmError):
    """The control plane, or the host that is needed, cannot be reached now."""

    code = "UNAVAILABLE"
    exit_code = 6


class DeadlineExceededError(SwarmError):
    code = "DEADLINE_EXCEEDED"
    exit_code = 6


class ResourceExhaustedError(SwarmError):
    """Too many calls (see `retry_after_s`), or a message that is too large."""

    code = "RESOURCE_EXHAUSTED"
    exit_code = 7


class UnimplementedError(SwarmError):
    """The control plane does not know the method; it may be older than this client."""

    code = "UNIMPLEMENTED"


class CancelledError(SwarmError):
    """The call was given up by the other side."""

    code = "CANCELLED"
    exit_code = 130


def tree(root: type[SwarmError] = SwarmError) -> Iterable[type[SwarmError]]:
    """`root` and every class below it."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


BY_CODE = {kind.code: kind for kind in tree()}


def from_rpc(error: AioRpcError) -> SwarmError:
    """The exception for a failed call, with what the server told in its google.rpc.Status."""
    status = rich_status(error)
    kind = BY_CODE.get(error.code().name, SwarmError)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    bad, request = error_details_pb2.BadRequest(), error_details_pb2.RequestInfo()
    retry_after: float | None = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        detail.Unpack(request)
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return kind(
        message_of(error, status),
        reason=info.reason,
        request_id=request.request_id,
        violations=tuple(FieldViolation(each.field, each.description) for each in bad.field_violations),
        retry_after_s=retry_after,
    )


def message_of(error: AioRpcError, status: status_pb2.Status) -> str:
    """The server's words where it spoke, else those of the transport."""
    if status.message:
        return str(status.message)
    if error.code() is StatusCode.UNAVAILABLE:
        return f"the control plane cannot be reached: {error.details()}"
    return error.details() or error.code().name.lower()


def rich_status(error: AioRpcError) -> status_pb2.Status:
    """Details from the trailers; empty when there are none, or none that can be read."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_KEY and isinstance(value, bytes):
            try:
                status.ParseFromString(value)
            except DecodeError:
                return status_pb2.Status()
    return status
