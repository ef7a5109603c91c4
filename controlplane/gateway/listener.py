"""The one HTTP listener: sockets, TLS, deadlines of heads, and errors of the tree as answers. Handlers do the rest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from aiohttp import web

from controlplane.errors import NotFound, StartError, SwarmError, Unauthenticated

HEAD_S: Final = 15.0
KEEPALIVE_S: Final = 75.0
LINGER_S: Final = 2.0  # for what a client still sends after it was refused
STOP_S: Final = 5.0

log = logging.getLogger(__name__)
# What it would say of bytes that are no HTTP belongs into no log: they get their 400.
_quiet = logging.getLogger("controlplane.gateway.aiohttp")
_quiet.setLevel(logging.CRITICAL)

# Answers one request. SwarmError is answered with its status, as long as nothing was sent yet.
Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 takes the port of the last time, kept in `remembered`, or a free one."""

    host: str
    port: int
    remembered: Path
    certificate: Path | None = None
    key: Path | None = None


class HttpListener:
    """`handlers` by the first segment of the path."""

    def __init__(self, address: Address, handlers: Mapping[str, Handler]) -> None:
        self._address = address
        self._handlers = handlers
        self._silent: set[web.RequestHandler] = set()  # connections without a head so far
        self._server: web.Server | None = None
        self._listening: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"{'https' if self._address.certificate else 'http'}://{self._address.host}:{self.port}"

    async def start(self) -> None:
        """`StartError` when it cannot listen there."""
        self._server = web.Server(
            self._handle,
            handler_cancellation=True,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            access_log=None,
            logger=_quiet,
            auto_decompress=False,
        )
        tls = self._tls()
        self._listening = await self._listen(tls)
        self.port = self._listening.sockets[0].getsockname()[1]
        self._address.remembered.write_text(f"{self.port}\n")

    async def stop(self) -> None:
        """Takes no more connections and gives the open ones a little time."""
        if self._listening is None or self._server is None:
            return
        self._listening.close()
        self._server.pre_shutdown()
        await self._server.shutdown(STOP_S)
        await self._listening.wait_closed()

    def _tls(self) -> ssl.SSLContext | None:
        if self._address.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self._address.certificate, self._address.key)
        except (OSError, ssl.SSLError) as fault:
            raise StartError(f"cannot read the certificate for HTTP: {fault}") from None
        return context

    async def _listen(self, tls: ssl.SSLContext | None) -> asyncio.Server:
        with contextlib.suppress(OSError, ValueError):
            if not self._address.port:
                return await self._bind(int(self._address.remembered.read_text()), tls)
        try:
            return await self._bind(self._address.port, tls)
        except OSError as fault:
            where = f"{self._address.host}:{self._address.port}"
            raise StartError(f"cannot serve HTTP on {where}: {fault.strerror}") from None

    async def _bind(self, port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
        host = self._address.host.strip("[]")
        return await asyncio.get_running_loop().create_server(self._connection, host, port, ssl=tls)

    def _connection(self) -> asyncio.Protocol:
        """One that is closed when it has not sent its first head in time."""
        assert self._server is not None
        protocol = self._server()
        self._silent.add(protocol)
        asyncio.get_running_loop().call_later(HEAD_S, self._expect_head, protocol)
        return protocol

    def _expect_head(self, protocol: web.RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            protocol.force_close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._silent.discard(request.protocol)
        try:
            return await self._handlers.get(request.path.split("/")[1], nothing)(request)
        except SwarmError as error:
            return refusal(error)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("an HTTP request failed")
            return refusal(SwarmError("internal error, see the log"))


async def nothing(_: web.BaseRequest) -> web.StreamResponse:
    raise NotFound("there is nothing here")


def refusal(error: SwarmError) -> web.Response:
    """Plain text, which git shows its user."""
    headers = {"WWW-Authenticate": 'Basic realm="swarm"'} if isinstance(error, Unauthenticated) else {}
    return web.Response(status=error.http_status, text=f"{error.message}\n", headers=headers)
