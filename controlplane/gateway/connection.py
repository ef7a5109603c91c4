"""One HTTP connection, and what guards it once it is a WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_websocket import WebSocketReader

from controlplane.api.stages.identify import request_id
from controlplane.errors import InvalidInput
from controlplane.gateway import headers
from controlplane.gateway.answers import refusal
from controlplane.gateway.faults import HeadTooLarge
from controlplane.gateway.guard import Guard
from controlplane.gateway.unpack import Unpack

SERVER_ERROR: Final = 500


class Connection(web.RequestHandler):
    """One connection. What is no HTTP is refused in the same words as everything else.

    `unpack` is set before a WebSocket begins that takes compressed messages.
    """

    unpack: Unpack | None = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        said = (message or "this is no HTTP").splitlines()[0]
        error = HeadTooLarge(said) if isinstance(exc, LineTooLong) else InvalidInput(f"malformed HTTP: {said[:200]}")
        if request.writer.output_size > 0 or status >= SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        known = request_id({})
        answer = refusal(error, known)
        answer.headers.update(headers.ALWAYS | {headers.REQUEST_ID: known})
        answer.force_close()
        return answer

    def set_parser(self, parser: WebSocketReader, data_received_cb: Callable[[], None] | None = None) -> None:
        """What is upgraded is guarded from its first byte on."""
        super().set_parser(cast("WebSocketReader", Guard(parser, self.unpack)), data_received_cb)
