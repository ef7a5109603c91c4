"""A channel of grpc_testing for an asynchronous client: the test plays the server, call by call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc_testing
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message


class TestingChannel:
    """Stands for a grpc.aio.Channel, for calls with one answer; `served` takes the next call of a method."""

    __test__ = False

    def __init__(self, *services: ServiceDescriptor) -> None:
        self._channel = grpc_testing.channel(services, grpc_testing.strict_real_time())

    def unary_unary(self, path: str, **coders: Any) -> Callable[..., Any]:
        multi = self._channel.unary_unary(path, coders["request_serializer"], coders["response_deserializer"])

        async def call(request: Message, *, timeout: float, metadata: grpc.aio.Metadata) -> Any:
            future = multi.future(request, timeout, tuple(metadata))
            try:
                return await asyncio.to_thread(future.result)
            except grpc.RpcError:
                trailers = grpc.aio.Metadata(*(future.trailing_metadata() or ()))
                raise grpc.aio.AioRpcError(
                    future.code(), grpc.aio.Metadata(), trailers, details=future.details()
                ) from None

        return call

    def unary_stream(self, *_: Any, **__: Any) -> None:
        """None is made here."""

    stream_stream = unary_stream

    async def served(self, method: MethodDescriptor) -> tuple[dict[str, str], Message, Any]:
        """Metadata and request of the next call, and what ends it."""
        metadata, request, rpc = await asyncio.to_thread(self._channel.take_unary_unary, method)
        return {str(key): str(value) for key, value in metadata}, request, rpc

    async def close(self) -> None:
        self._channel.close()
