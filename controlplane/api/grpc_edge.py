"""gRPC in front of the pipeline: generic handlers made from the descriptors, health, reflection."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from controlplane.api.answer import begin
from controlplane.api.methods import Method
from controlplane.api.pipeline import Dispatcher
from controlplane.api.stages.identify import HEADER as REQUEST_ID
from controlplane.api.status import TRAILER, code_of, status_of
from controlplane.errors import InvalidInput, StartError, SwarmError

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

MIB: Final = 1 << 20
LONGEST_SOCKET_PATH: Final = 107
GRACE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Listen:
    """Where and how to serve. `address` is `host:port` and needs the certificate; empty: the Unix socket only."""

    socket: Path
    address: str = ""
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    reflection: bool = True
    max_message_bytes: int = 4 * MIB
    max_concurrent_rpcs: int = 4096

    def options(self) -> list[tuple[str, int]]:
        """Caps of the transport. What breaks one is answered by the transport itself, for that call or connection."""
        return [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", 64 * MIB),
            ("grpc.max_metadata_size", 16 * 1024),
            ("grpc.absolute_max_metadata_size", 32 * 1024),
            ("grpc.max_concurrent_streams", 1024),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.http2.max_ping_strikes", 3),
            ("grpc.so_reuseport", 0),
        ]


class GrpcEdge:
    """`start` opens the listeners, `stop` drains them."""

    def __init__(self, dispatcher: Dispatcher, services: Iterable[ServiceDescriptor], listen: Listen) -> None:
        self._dispatcher = dispatcher
        self._listen = listen
        self._names = [service.full_name for service in services]
        self._health = health.aio.HealthServicer()
        self.port = 0

    async def start(self) -> None:
        """`StartError` when an address cannot be used; nothing listens then."""
        self._server = grpc.aio.server(
            options=self._listen.options(), maximum_concurrent_rpcs=self._listen.max_concurrent_rpcs
        )
        self._server.add_generic_rpc_handlers(tuple(self._handlers()))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if self._listen.reflection:
            known = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(known, self._server)
        try:
            self._bind()
            await self._server.start()
            self._listen.socket.chmod(0o600)
        except BaseException:
            await self._server.stop(None)
            self._listen.socket.unlink(missing_ok=True)
            raise
        for name in ("", *self._names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Refuses new calls, ends streams, gives the rest a few seconds, and removes the socket."""
        await self._health.enter_graceful_shutdown()
        await self._dispatcher.close()
        await self._server.stop(GRACE_S)
        self._listen.socket.unlink(missing_ok=True)

    def _bind(self) -> None:
        path = self._listen.socket
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            raise StartError(f"{path} is too long for a Unix socket; choose a state directory with a shorter path")
        path.unlink(missing_ok=True)  # what a killed process left; the lock of the state directory is ours
        with refused(f"cannot listen on {path}"):
            self._server.add_insecure_port(f"unix:{path}")
        if self._listen.address:
            with refused(f"cannot listen on {self._listen.address}"):
                self.port = self._server.add_secure_port(self._listen.address, self._credentials())

    def _credentials(self) -> grpc.ServerCredentials:
        listen = self._listen
        if listen.certificate is None or listen.key is None:
            raise StartError("TCP needs a TLS certificate and key")
        try:
            pair = (listen.key.read_bytes(), listen.certificate.read_bytes())
            authority = listen.client_ca.read_bytes() if listen.client_ca else None
        except OSError as fault:
            raise StartError(f"cannot read {fault.filename}: {fault.strerror}") from None
        return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)

    def _handlers(self) -> Iterable[grpc.GenericRpcHandler]:
        by_service: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        for method in self._dispatcher.methods.values():
            service, _, name = method.name.rpartition(".")
            by_service.setdefault(service, {})[name] = self._handler(method)
        for service, handlers in by_service.items():
            yield grpc.method_handlers_generic_handler(service, handlers)

    def _handler(self, method: Method) -> grpc.RpcMethodHandler[Any, Any]:
        """No deserializer: bytes that are no message shall be INVALID_ARGUMENT, not the transport's INTERNAL."""
        encode = method.response.SerializeToString
        if not method.streaming:
            return grpc.unary_unary_rpc_method_handler(self._unary(method), response_serializer=encode)
        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(self._streaming(method), response_serializer=encode)
        return grpc.unary_stream_rpc_method_handler(self._streaming(method), response_serializer=encode)

    def _unary(self, method: Method) -> Callable[[bytes, Context], Any]:
        async def handle(body: bytes, context: Context) -> Message:
            headers = begin()
            try:
                answer = await self._dispatcher.unary(
                    method.name, parse(method, body), metadata_of(context), context.peer()
                )
            except SwarmError as error:
                await abort(context, error, headers)
            context.set_trailing_metadata(tuple(headers.items()))
            return answer

        return handle

    def _streaming(self, method: Method) -> Callable[[Any, Context], AsyncGenerator[Message, None]]:
        async def handle(bodies: bytes | AsyncIterator[bytes], context: Context) -> AsyncGenerator[Message, None]:
            headers, requests = begin(), parsed(method, bodies)
            answers = self._dispatcher.stream(method.name, requests, metadata_of(context), context.peer())
            try:
                async with contextlib.aclosing(answers):
                    async for answer in answers:
                        yield answer
            except SwarmError as error:
                await abort(context, error, headers)
            context.set_trailing_metadata(tuple(headers.items()))

        return handle


def parse(method: Method, body: bytes) -> Message:
    """The request, or `InvalidInput` for bytes that are none."""
    try:
        return method.request.FromString(body)
    except DecodeError:
        raise InvalidInput(f"this is no {method.request.DESCRIPTOR.full_name}", reason="malformed") from None


async def parsed(method: Method, bodies: bytes | AsyncIterator[bytes]) -> AsyncGenerator[Message, None]:
    if isinstance(bodies, bytes):
        yield parse(method, bodies)
        return
    async for body in bodies:
        yield parse(method, body)


def metadata_of(context: Context) -> Mapping[str, str]:
    """Text metadata by lower-case key; binary values are none of ours.

    What comes more than once is one value, as gRPC's protocol has it: so each proxy may add its own line.
    """
    pairs = context.invocation_metadata() or ()
    found = {key: value for key, value in pairs if isinstance(value, str)}
    if len(found) == len(pairs):
        return found
    return {name: ", ".join(str(each) for key, each in pairs if key == name) for name in found}


async def abort(context: Context, error: SwarmError, headers: Mapping[str, str]) -> NoReturn:
    """Ends the call with the error and all its details."""
    details = status_of(error, headers.get(REQUEST_ID, "")).SerializeToString()
    trailers = ((TRAILER, details), *headers.items())
    await context.abort(code_of(error), error.message[:500], trailers)


@contextlib.contextmanager
def refused(what: str) -> Any:
    """Turns what the transport says about an address into one line."""
    try:
        yield
    except (RuntimeError, OSError) as fault:
        reason = str(fault).splitlines()[0][:300]
        raise StartError(f"{what}: {reason}") from None
