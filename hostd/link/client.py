"""Keeps a stream to the control plane: reconnects with jittered backoff and resumes where the last one broke."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import grpc
import grpc.aio

from hostd import messages as m
from hostd.link import convert
from hostd.link.channel import Endpoint, open_channel
from hostd.link.outbox import Acked, Caps, Outbox
from hostd.link.stream import BrokenStreamError, Inbox, SilentPeerError, Stream
from swarm.hostlink.v1.service_pb2_grpc import HostLinkServiceStub

log = logging.getLogger("hostd.link")

CAP_S = 10.0
REFUSALS = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})


class LinkHandler(Protocol):
    """Who talks through the link. Called on the event loop; must not block."""

    def hello(self) -> m.Hello: ...
    def connected(self, welcome: m.Welcome) -> None: ...
    def disconnected(self) -> None: ...
    def handle(self, event: m.ControlEvent) -> None: ...


class Backoff:
    """Seconds to wait before the next try: random below a bound that doubles.

    Anything from zero up, so that hosts which lost the same control plane at one moment come back spread evenly.
    """

    def __init__(self, base_s: float = 0.2, cap_s: float = CAP_S, rng: random.Random | None = None) -> None:
        self._base_s = self._least_s = base_s
        self._cap_s = cap_s
        self._rng = rng or random.SystemRandom()
        self._tries = 0

    def next(self) -> float:
        bound = min(self._cap_s, self._base_s * 2**self._tries)
        self._tries = min(self._tries + 1, 16)
        return self._rng.uniform(0, bound)

    def reset(self, base_s: float = 0.0) -> None:
        """Start over; the first bound is `base_s` from now on, or the one that it was made with where that is more."""
        self._tries = 0
        self._base_s = max(base_s, self._least_s)

    def limit(self, cap_s: float) -> None:
        """Never wait longer than this from now on."""
        self._cap_s = min(CAP_S, cap_s)


class Link:
    """`send` at any time; `run` until cancelled."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        caps: Caps | None = None,
        backoff: Backoff | None = None,
        opener: Callable[[Endpoint], grpc.aio.Channel] = open_channel,
    ) -> None:
        self.endpoint = endpoint
        self._opener = opener
        self.channel = opener(endpoint)
        self.stub = HostLinkServiceStub(self.channel)
        self._outbox = Outbox(caps)
        self._inbox = Inbox()
        self._backoff = backoff or Backoff()
        self._ready = asyncio.Event()
        self._stream: asyncio.Future[None] | None = None
        self._replace = False
        self._up = False
        self._streams = 0

    def send(self, event: m.HostEvent, acked: Acked | None = None) -> None:
        """Queue for delivery in order of priority; `acked` is called when the control plane has committed it."""
        self._outbox.put(event, convert.host_event(event).ByteSize() + 16, acked)
        self._ready.set()

    def up(self) -> bool:
        """True between the welcome and the end of a stream."""
        return self._up

    async def run(self, handler: LinkHandler) -> None:
        while True:
            reason = await self._attach(handler)
            delay = self._backoff.next()
            log.warning("no stream to the control plane", extra={"reason": reason, "retry_s": round(delay, 2)})
            await asyncio.sleep(delay)

    async def _attach(self, handler: LinkHandler) -> str:
        """One stream from hello to its end; returns why it ended."""
        stream = Stream(self._outbox, self._inbox, self._ready, handler.handle)
        self._streams += 1
        hello = replace(handler.hello(), stream=self._streams)
        run = self._stream = asyncio.ensure_future(
            stream.run(self.stub, tuple(self.endpoint.metadata()), hello, lambda w: self._welcomed(handler, w))
        )
        try:
            await run
        except SilentPeerError as error:
            await self._reopen()
            return str(error)
        except BrokenStreamError as error:
            return str(error)
        except grpc.aio.AioRpcError as error:
            return _describe(error)
        except asyncio.CancelledError:
            if not self._replace:
                raise
            await self._reopen()
            return "no answer to renewals"
        finally:
            self._replace = False
            if self._up:
                self._up = False
                handler.disconnected()
        return "closed"

    async def _reopen(self) -> None:
        """Leave a connection behind from which nothing comes back: TCP may hold on to it for a quarter of an hour."""
        await self.channel.close()
        self.channel = self._opener(self.endpoint)
        self.stub = HostLinkServiceStub(self.channel)

    def reconnect(self) -> None:
        """Give the present stream up: it is open but nothing comes back."""
        if self._stream and not self._stream.done():
            self._replace = True
            self._stream.cancel()

    def _welcomed(self, handler: LinkHandler, welcome: m.Welcome) -> None:
        log.info("attached to the control plane", extra={"host_id": welcome.host_id})
        self._backoff.reset(welcome.reconnect_within_s)
        # A control plane that comes back takes leases away that nobody renews within their TTL: nine periods.
        self._backoff.limit(2 * welcome.renew_every_s)
        self._up = True
        handler.connected(welcome)

    async def close(self) -> None:
        await self.channel.close()


def _describe(error: grpc.aio.AioRpcError) -> str:
    code = error.code()
    hint = "; check the host's token" if code in REFUSALS else ""
    return f"{code.name}: {error.details()}{hint}"
