"""Between the link and the rest: says hello, hands renewals' answers to the lease and everything else to the runner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from hostd import messages as m
from hostd import metrics
from hostd.lease import LeaseKeeper

log = logging.getLogger("hostd.link")


class Reporting(Protocol):
    def resend(self) -> None:
        """Say again what is not repeated by itself."""


class Work(Protocol):
    """What runs on this host."""

    @property
    def reports(self) -> Reporting: ...
    def refs(self) -> tuple[m.AttemptRef, ...]: ...
    def take(self, event: m.ControlEvent) -> None: ...


class Session:
    """Implements `hostd.link.client.LinkHandler`."""

    def __init__(self, greet: Callable[[tuple[m.AttemptRef, ...]], m.Hello], keeper: LeaseKeeper, runner: Work) -> None:
        self._greet = greet
        self._keeper = keeper
        self._runner = runner
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewing = False

    def hello(self) -> m.Hello:
        return self._greet(self._runner.refs())

    def connected(self, welcome: m.Welcome) -> None:
        metrics.LINK_UP.set(1)
        self._keeper.connected(welcome.renew_every_s, welcome.self_fence_s)
        self._runner.reports.resend()

    def disconnected(self) -> None:
        metrics.LINK_UP.set(0)
        self._keeper.disconnected()

    def handle(self, event: m.ControlEvent) -> None:
        try:
            self._handle(event)
        except Exception:
            # One message that cannot be dealt with must not take the link, and all attempts, down with it.
            log.exception("message of the control plane failed", extra={"kind": type(event).__name__})

    def _handle(self, event: m.ControlEvent) -> None:
        if isinstance(event, m.Renewed):
            task = asyncio.ensure_future(self._keeper.take(event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._runner.take(event)
        if isinstance(event, m.Assignment):
            self._renew_soon()

    def _renew_soon(self) -> None:
        """A lease began when the control plane committed it: count from now, once for all that arrived together."""
        if not self._renewing:
            self._renewing = True
            asyncio.get_running_loop().call_soon(self._renew)

    def _renew(self) -> None:
        self._renewing = False
        self._keeper.renew()
