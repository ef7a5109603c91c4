"""From HTTP to a WebSocket."""

from __future__ import annotations

import logging
from typing import Final, cast

from aiohttp import web

from controlplane.errors import Forbidden, InvalidInput, MethodNotAllowed
from controlplane.gateway.connection import Connection
from controlplane.gateway.deflate import HEADER, agreed
from controlplane.gateway.faults import UpgradeRequired
from controlplane.gateway.front import dress
from controlplane.gateway.headers import Origins
from controlplane.gateway.unpack import Unpack

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


async def upgrade(request: web.BaseRequest, *, compression: bool = False) -> web.WebSocketResponse:
    """The open WebSocket. With `compression` it takes compressed messages if the client has offered that."""
    opened = socket()
    dress(request, opened)
    if compression and (answer := agreed(request.headers.getall(HEADER, ()))):
        opened.headers[HEADER] = answer
        cast("Connection", request.protocol).unpack = Unpack(LONGEST_MESSAGE)
    await opened.prepare(request)
    return opened


def deflates(opened: web.WebSocketResponse) -> bool:
    """Whether compressed messages may be sent."""
    return HEADER in opened.headers


def socket() -> web.WebSocketResponse:
    # Its own compression would keep a window for each socket, either way.
    return web.WebSocketResponse(compress=False, heartbeat=BEAT_S, max_msg_size=LONGEST_MESSAGE, timeout=CLOSE_S)
