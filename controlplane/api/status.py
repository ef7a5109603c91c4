"""Errors of the tree as google.rpc.Status, the form in which gRPC clients get the details."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from controlplane.errors import SwarmError

DOMAIN: Final = "swarm"
TRAILER: Final = "grpc-status-details-bin"
LONGEST_MESSAGE: Final = 2000


def code_of(error: SwarmError) -> grpc.StatusCode:
    return grpc.StatusCode[error.code]


def status_of(error: SwarmError, request_id: str) -> status_pb2.Status:
    """ErrorInfo and RequestInfo always, BadRequest and RetryInfo where there is something to tell."""
    parts: list[Message] = [
        details.ErrorInfo(reason=error.reason, domain=DOMAIN),
        details.RequestInfo(request_id=request_id),
    ]
    if error.violations:
        fields = [
            details.BadRequest.FieldViolation(field=each.field[:500], description=each.description[:500])
            for each in error.violations
        ]
        parts.append(details.BadRequest(field_violations=fields))
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(max(1, round(error.retry_after_s * 1000)))
        parts.append(details.RetryInfo(retry_delay=delay))
    packed = []
    for part in parts:
        packed.append(Any())
        packed[-1].Pack(part)
    number: int = code_of(error).value[0]
    return status_pb2.Status(code=number, message=error.message[:LONGEST_MESSAGE], details=packed)
