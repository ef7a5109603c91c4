"""The one HTTP listener: sockets, TLS, and deadlines and limits of heads. A handler does the rest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from controlplane.errors import StartError
from controlplane.gateway.connection import Connection
from controlplane.gateway.front import Handler

HEAD_S: Final = 15.0
KEEPALIVE_S: Final = 75.0
LINGER_S: Final = 2.0  # for what a client still sends after it was refused
STOP_S: Final = 5.0
LONGEST_LINE: Final = 16 << 10  # the request line, and each header
MOST_HEADERS: Final = 100

# Of what is no HTTP nothing is logged: it gets its 400.
_quiet = logging.getLogger("controlplane.gateway.aiohttp")
_quiet.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 takes the port of the last time, kept in `remembered`, or a free one."""

    host: str
    port: int
    remembered: Path
    certificate: Path | None = None
    key: Path | None = None


class Server(web.Server):
    """Makes such connections."""

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class HttpListener:
    """Serves what `start` is given, until `stop`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._silent: set[web.RequestHandler] = set()  # connections without a head so far
        self._server: Server | None = None
        self._listening: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"{'https' if self._address.certificate else 'http'}://{self._address.host}:{self.port}"

    async def start(self, handle: Handler) -> None:
        """`handle` answers every request; what it raises ends the connection. `StartError` when it cannot listen."""

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            self._silent.discard(request.protocol)
            return await handle(request)

        self._server = Server(
            answer,
            handler_cancellation=True,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            access_log=None,
            logger=_quiet,
            auto_decompress=False,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            max_headers=MOST_HEADERS,
        )
        tls = self._tls()
        self._listening = await self._listen(tls)
        self.port = self._listening.sockets[0].getsockname()[1]
        self._address.remembered.write_text(f"{self.port}\n")

    async def stop(self) -> None:
        """Gives the requests that are answered a little time."""
        self.close()
        if self._listening is None or self._server is None:
            return
        await self._server.shutdown(STOP_S)
        await self._listening.wait_closed()

    def close(self) -> None:
        """Takes no more connections, and no more requests on those that are idle."""
        if self._listening is not None and self._server is not None:
            self._listening.close()
            self._server.pre_shutdown()

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
