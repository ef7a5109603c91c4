"""From HTTP to a WebSocket."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web

from controlplane.errors import Forbidden, InvalidInput, MethodNotAllowed
from controlplane.gateway.faults import UpgradeRequired
from controlplane.gateway.front import dress
from controlplane.gateway.headers import Origins

BEAT_S: Final = 30.0  # a ping; who does not answer it within half of that is gone
LONGEST_MESSAGE: Final = 64 << 10
CLOSE_S: Final = 5.0

# It would warn of every client that asks for a subprotocol.
logging.getLogger("aiohttp.websocket").setLevel(logging.CRITICAL)


def check(request: web.BaseRequest, origins: Origins) -> None:
    """Refuses what cannot become a WebSocket, and pages of other sites."""
    if request.method != "GET":
        raise MethodNotAllowed("a WebSocket begins with GET", allow=("GET",))
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise UpgradeRequired("this is a WebSocket")
    if not origins.allows(request):
        raise Forbidden("pages of this origin may not connect", reason="foreign_origin")
    if not socket().can_prepare(request):
        raise InvalidInput("the WebSocket handshake is not whole")


async def upgrade(request: web.BaseRequest) -> web.WebSocketResponse:
    """The open WebSocket; without compression, so that one frame fits all."""
    opened = socket()
    dress(request, opened)
    await opened.prepare(request)
    return opened


def socket() -> web.WebSocketResponse:
    return web.WebSocketResponse(compress=False, heartbeat=BEAT_S, max_msg_size=LONGEST_MESSAGE, timeout=CLOSE_S)
