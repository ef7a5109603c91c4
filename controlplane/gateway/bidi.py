"""Streams both ways as WebSockets of their own, such as a VM's console.

A text frame is a message as JSON. A binary frame is the one field of bytes of a message, raw: what comes in as such,
and all that goes out where an answer holds nothing else. The path's variables belong to the first message. An error is
the last text frame, `{"error": …}`, before the close.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Callable

from aiohttp import WSCloseCode, WSMsgType, web
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from controlplane.api.pipeline import Dispatcher
from controlplane.errors import InvalidInput, SwarmError, Unauthenticated
from controlplane.gateway import upgrade
from controlplane.gateway.admission import Admission
from controlplane.gateway.answers import described
from controlplane.gateway.deadline import sent
from controlplane.gateway.front import known_id
from controlplane.gateway.headers import Origins, peer_of
from controlplane.gateway.route import Route

# JSON of a message to the message; raises InvalidInput.
Decode = Callable[[type[Message], bytes], Message]
Encode = Callable[[Message], bytes]


class Bidi:
    """Serves them; `decode` and `encode` are protojson."""

    def __init__(
        self, dispatcher: Dispatcher, admission: Admission, origins: Origins, decode: Decode, encode: Encode
    ) -> None:
        self._dispatcher = dispatcher
        self._admission = admission
        self._origins = origins
        self._decode = decode
        self._encode = encode

    async def handle(self, request: web.BaseRequest, route: Route, first: Message) -> web.StreamResponse:
        upgrade.check(request, self._origins)
        admitted = await self._admission.of(request)
        if admitted is None:
            raise Unauthenticated("a credential is needed: a header, ?ticket= or ?token=")
        socket = await upgrade.upgrade(request)
        answers = self._dispatcher.stream(
            route.method, self._incoming(socket, first), admitted.metadata, peer_of(request), admitted.authenticate
        )
        code, reason = WSCloseCode.OK, "the stream has ended"
        try:
            async with contextlib.aclosing(answers):
                async for answer in answers:
                    await self._send(socket, answer)
        except SwarmError as error:
            code, reason = close_of(error)
            await sent(socket.send_str(json.dumps({"error": described(error, known_id(request))})))
        await socket.close(code=code, message=reason.encode()[:120])
        return socket

    async def _send(self, socket: web.WebSocketResponse, answer: Message) -> None:
        field = raw_field(type(answer))
        if field and len(answer.DESCRIPTOR.fields) == 1:
            await sent(socket.send_bytes(getattr(answer, field)))
        else:
            await sent(socket.send_str(self._encode(answer).decode()))

    async def _incoming(self, socket: web.WebSocketResponse, first: Message) -> AsyncGenerator[Message, None]:
        """Ends with the socket."""
        yield first
        field = raw_field(type(first))
        async for frame in socket:
            if frame.type is WSMsgType.BINARY and field:
                yield type(first)(**{field: frame.data})
            elif frame.type is WSMsgType.TEXT:
                yield self._decode(type(first), frame.data.encode("utf-8", "surrogatepass"))
            elif frame.type is WSMsgType.BINARY:
                raise InvalidInput("this takes text frames")


def raw_field(message: type[Message]) -> str:
    """The one field of bytes that a message has; empty: it has none, or several."""
    fields = [field.name for field in message.DESCRIPTOR.fields if field.type == FieldDescriptor.TYPE_BYTES]
    return fields[0] if len(fields) == 1 else ""


def close_of(error: SwarmError) -> tuple[WSCloseCode, str]:
    """How a WebSocket says an error in its close."""
    codes = {
        "INTERNAL": WSCloseCode.INTERNAL_ERROR,
        "UNAVAILABLE": WSCloseCode.GOING_AWAY,
        "RESOURCE_EXHAUSTED": WSCloseCode.TRY_AGAIN_LATER,
    }
    return codes.get(error.code, WSCloseCode.POLICY_VIOLATION), error.message
