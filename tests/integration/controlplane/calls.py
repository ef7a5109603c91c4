"""Raw calls to any method, below what the SDK does for its users."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.rpc import status_pb2

from controlplane.api.methods import Method, methods, services
from controlplane.domain.call import Role

METHODS = sorted(methods(services()).values(), key=lambda method: method.name)
OPEN = [method for method in METHODS if method.role is Role.PUBLIC]
PUBLIC = [method for method in METHODS if method.role not in {Role.HOST, Role.PUBLIC}]
HOSTS = [method for method in METHODS if "hostlink" in method.name]


def path(method: Method) -> str:
    service, _, name = method.name.rpartition(".")
    return f"/{service}/{name}"


async def raw(
    channel: grpc.aio.Channel,
    method: Method,
    body: bytes = b"",
    metadata: Sequence[tuple[str, str]] = (),
    timeout: float | None = 10,
) -> bytes:
    """First answer of any method to one raw request."""
    untyped: Any = channel
    options: Any = {"metadata": tuple(metadata), "timeout": timeout}
    if not method.streaming:
        answer: bytes = await untyped.unary_unary(path(method))(body, **options)
        return answer

    async def requests() -> AsyncIterator[bytes]:
        yield body

    if method.client_streaming:
        call = untyped.stream_stream(path(method))(requests(), **options)
    else:
        call = untyped.unary_stream(path(method))(body, **options)
    async for first in call:
        call.cancel()
        return bytes(first)
    return b""


async def outcome(*args: Any, **options: Any) -> grpc.aio.AioRpcError | None:
    """The error of a call, if it has one."""
    try:
        await raw(*args, **options)
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def refusal(*args: Any, **options: Any) -> grpc.aio.AioRpcError:
    error = await outcome(*args, **options)
    assert error is not None
    return error


def details(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    found = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(found, bytes)
    return status_pb2.Status.FromString(found)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)
