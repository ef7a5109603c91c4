"""One channel to the control plane: credentials, deadlines, idempotency keys and retries."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from grpc.aio import AioRpcError, UnaryStreamMultiCallable, UnaryUnaryMultiCallable

from swarm_sdk.errors import ResourceExhaustedError, SwarmError, UnavailableError, from_rpc

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

CALL_TIMEOUT_S = 60.0
RETRIES = 4
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
DISK_FULL = "disk_full"  # it passes when a person makes room
OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.enable_retries", 0),  # ours keep the idempotency key and honour RetryInfo
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 30_000),  # or a watch would wait for ever on a connection that is half gone
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.http2.max_pings_without_data", 0),
)


def pause_before(attempt: int, error: SwarmError | None = None) -> float:
    """Seconds to wait before the `attempt`-th repetition, with jitter: what the server asked for, else doubling."""
    chance = secrets.randbelow(500) / 1000
    if error is not None and error.retry_after_s is not None:
        return error.retry_after_s * (1.0 + chance / 5)
    return min(FIRST_PAUSE_S * (1 << attempt), LONGEST_PAUSE_S) * (1.0 - chance)


def passes(error: SwarmError) -> bool:
    """Whether the same call may work a moment later: nobody is there, or the server says when there is room again."""
    if isinstance(error, ResourceExhaustedError):
        return error.retry_after_s is not None and error.reason != DISK_FULL
    return isinstance(error, UnavailableError)


def opened(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(target, OPTIONS)
    return grpc.aio.secure_channel(target, credentials, OPTIONS)


class Transport:
    """Sends calls. Not for use by more than one event loop."""

    def __init__(
        self,
        target: str,
        token: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
        retries: int = RETRIES,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        """A `channel` of one's own is used instead of one to `target`."""
        self.target = target
        self.timeout_s = timeout_s
        self.retries = retries
        self._token = token
        self.renew: Callable[[], Awaitable[str]] | None = None  # a token before each call, where one is not for good
        self.channel = channel or opened(target, credentials)

    async def close(self) -> None:
        await self.channel.close()

    async def reachable(self, timeout_s: float) -> bool:
        """Whether a connection stands within `timeout_s` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.channel.channel_ready()
        except TimeoutError:
            return False
        return True

    def metadata(self, key: str = "") -> grpc.aio.Metadata:
        pairs = [("authorization", f"Bearer {self._token}")] if self._token else []
        if key:
            pairs.append(("idempotency-key", key))
        return grpc.aio.Metadata(*pairs)

    def use(self, token: str) -> None:
        """Calls with this credential from now on."""
        self._token = token

    async def fresh(self) -> None:
        """Has a token at hand that is good for the next call."""
        if self.renew is not None:
            self._token = await self.renew()

    async def once(self, method: UnaryUnaryMultiCallable[Request, Response], request: Request) -> Response:
        """A call that is not repeated, whatever became of it."""
        await self.fresh()
        try:
            return await method(request, timeout=self.timeout_s, metadata=self.metadata())
        except AioRpcError as fault:
            raise from_rpc(fault) from None

    async def read(self, method: UnaryUnaryMultiCallable[Request, Response], request: Request) -> Response:
        """A call that changes nothing."""
        return await self._unary(method, request, "", self.timeout_s)

    async def change(
        self,
        method: UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        key: str = "",
        timeout_s: float | None = None,
    ) -> Response:
        """A call that changes something, at most once however often it is sent: `key` is made up when none is given."""
        return await self._unary(method, request, key or secrets.token_urlsafe(18), timeout_s or self.timeout_s)

    async def _unary(
        self, method: UnaryUnaryMultiCallable[Request, Response], request: Request, key: str, timeout_s: float
    ) -> Response:
        """One deadline for the call and all its repetitions; a pause that would not end before it is not begun."""
        await self.fresh()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        for attempt in range(self.retries + 1):
            try:
                return await method(request, timeout=deadline - loop.time(), metadata=self.metadata(key))
            except AioRpcError as fault:
                error = from_rpc(fault)
                pause = pause_before(attempt, error)
                if not passes(error) or attempt == self.retries or loop.time() + pause >= deadline:
                    raise error from None
                await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def stream(
        self, method: UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> AsyncGenerator[Response, None]:
        """Messages of one server stream; it has no deadline and is not repeated."""
        await self.fresh()
        call = method(request, timeout=None, metadata=self.metadata())
        try:
            async for message in call:
                yield message
        except AioRpcError as fault:
            raise from_rpc(fault) from None
        finally:
            call.cancel()

    async def resume(
        self, method: UnaryStreamMultiCallable[Request, Response], request: Callable[[], Request]
    ) -> AsyncGenerator[Response, None]:
        """Messages of a stream that is opened again with a fresh `request()` whenever the connection is lost.

        Gives up when the control plane stays away for all retries in a row.
        """
        failures = 0
        while True:
            try:
                async with contextlib.aclosing(self.stream(method, request())) as messages:
                    async for message in messages:
                        failures = 0
                        yield message
            except UnavailableError as error:
                if failures >= self.retries:
                    raise
                await asyncio.sleep(pause_before(failures, error))
                failures += 1
            else:
                return
