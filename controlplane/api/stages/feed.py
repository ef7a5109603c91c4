"""Open streams: each runs in a task of its own, and ends when its principal is revoked or the process stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, TypeAlias

from google.protobuf.message import Message

from controlplane.domain.call import Principal
from controlplane.errors import SwarmError, Unauthenticated, Unavailable

RECHECK_S: Final = 0.5
AHEAD: Final = 8  # messages that a handler may be ahead of its reader

Recheck: TypeAlias = Callable[[], Principal]


class End:
    """The handler has nothing more to say."""


class Feed:
    """One stream between its handler and its reader."""

    def __init__(self, answers: AsyncGenerator[Message, None], recheck: Recheck) -> None:
        self._principal = recheck()
        self._recheck = recheck
        self._queue: asyncio.Queue[Message | Exception | End] = asyncio.Queue(AHEAD)
        self._pump = asyncio.create_task(self._run(answers))

    async def _run(self, answers: AsyncGenerator[Message, None]) -> None:
        try:
            async with aclosing(answers):  # also when it is stopped while nobody reads
                async for answer in answers:
                    await self._queue.put(answer)
        except Exception as error:  # noqa: BLE001  # it is raised where the answers are read
            await self._queue.put(error)
        else:
            await self._queue.put(End())

    def check(self) -> None:
        """Ends the stream when its credential no longer means the same principal."""
        try:
            if self._recheck() != self._principal:
                self.fail(Unauthenticated("the credential was revoked"))
        except SwarmError as error:
            self.fail(error)

    def fail(self, error: SwarmError) -> None:
        """Stops the handler; the reader gets the error next."""
        self._pump.cancel()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(error)

    async def answers(self) -> AsyncGenerator[Message, None]:
        while not isinstance(item := await self._queue.get(), End):
            if isinstance(item, Exception):
                raise item
            yield item

    async def close(self) -> None:
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)


class Feeds:
    """All open streams of the process."""

    def __init__(self) -> None:
        self._open: set[Feed] = set()
        self._sweeper: asyncio.Task[None] | None = None

    async def follow(self, answers: AsyncGenerator[Message, None], recheck: Recheck) -> AsyncGenerator[Message, None]:
        """The answers, from a handler that is stopped as soon as the reader goes."""
        feed = Feed(answers, recheck)
        self._open.add(feed)
        self._sweeper = self._sweeper or asyncio.create_task(self._sweep())
        try:
            async for answer in feed.answers():
                yield answer
        finally:
            self._open.discard(feed)
            await feed.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            for feed in tuple(self._open):
                feed.check()

    def end(self) -> None:
        """Ends every stream: the process stops."""
        for feed in tuple(self._open):
            feed.fail(Unavailable("the control plane is shutting down", reason="shutting_down"))
        if self._sweeper is not None:
            self._sweeper.cancel()
