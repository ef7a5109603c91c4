"""Calls as REST: a request finds its route, passes the pipeline in this process, and is answered in JSON."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message

from controlplane.api.pipeline import Dispatcher
from controlplane.domain.call import Role
from controlplane.errors import InvalidInput
from controlplane.gateway import body
from controlplane.gateway.admission import IN_QUERY
from controlplane.gateway.answers import JSON, expect_accept, plain_answer, tagged_answer
from controlplane.gateway.bidi import Bidi
from controlplane.gateway.deadline import deadline
from controlplane.gateway.faults import Unsupported
from controlplane.gateway.front import known_id
from controlplane.gateway.headers import metadata_of, peer_of
from controlplane.gateway.ndjson import Lines
from controlplane.gateway.route import Route
from controlplane.gateway.router import Router

BODY_BYTES: Final = 4 << 20


class Rest:
    """`handle` answers everything below /api."""

    def __init__(self, dispatcher: Dispatcher, router: Router, bidi: Bidi, *, body_bytes: int = BODY_BYTES) -> None:
        self._dispatcher = dispatcher
        self._router = router
        self._bidi = bidi
        self._lines = Lines(dispatcher)
        self._body_bytes = body_bytes

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        route, variables = self._router.match(request.method, request.rel_url.raw_path)
        pairs = list(request.rel_url.query.items())
        if route.client_streaming:
            pairs = [(name, value) for name, value in pairs if name not in IN_QUERY]
            return await self._bidi.handle(request, route, route.decode(variables, pairs, b""))
        content = await self._content(request, route)
        message = route.decode(variables, pairs, content)
        if route.server_streaming:
            return await self._lines.answer(request, route, message)
        return await self._unary(request, route, message)

    async def _unary(self, request: web.BaseRequest, route: Route, message: Message) -> web.Response:
        if self._dispatcher.methods[route.method].response is not HttpBody:
            expect_accept(request, JSON)
        metadata = metadata_of(request, known_id(request))
        async with deadline(request):
            answer = await self._dispatcher.unary(route.method, message, metadata, peer_of(request))
        if isinstance(answer, HttpBody):  # the bytes themselves, of the type that it names
            return await tagged_answer(request, answer.data, answer.content_type)
        content = route.encode(answer)
        # What is read without a credential begins or ends a login: nobody keeps that.
        kept = route.verb == "GET" and self._dispatcher.methods[route.method].role is not Role.PUBLIC
        return await (tagged_answer if kept else plain_answer)(request, content)

    async def _content(self, request: web.BaseRequest, route: Route) -> bytes:
        """The body, as far as the route has one; `{}` says nothing and is taken everywhere."""
        if not request.body_exists:
            return b""
        _expect_json(request)
        content = await body.whole(request, self._body_bytes)
        if content.strip() and not route.has_body:
            if content.strip() != b"{}":
                raise InvalidInput("this takes no body")
            return b""
        return content


def _expect_json(request: web.BaseRequest) -> None:
    kind = request.headers.get("Content-Type")
    if kind is None:
        return
    if request.content_type != JSON or (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise Unsupported(f"the body is {JSON} in UTF-8, not {kind[:100]}")
