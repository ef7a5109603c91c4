"""The client for programs without an event loop: the async one, on a loop in a thread of its own.

    with SyncClient.open(state_dir) as swarm:
        ticket = swarm.tickets.create(TicketSpec(title="Say hello", agent="echo"))
        for answer in swarm.tickets.watch(ticket.id):
            ...

Every method of `Client` is there under its name: what is awaited there is returned here, what is iterated with
`async for` there is iterated with `for` here.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from swarm_sdk.client import Client

T = TypeVar("T")


class LoopThread:
    """One event loop in one thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="swarm-sdk", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine; an interrupt of the caller cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class SyncClient:
    """Use it as a context manager, or `close()` it. Its methods may be called from any thread."""

    def __init__(self, make: Callable[[], Client]) -> None:
        """`make` makes the client, within the thread that will run it."""
        self._thread = LoopThread()
        try:
            self._client = self._thread.run(_made(make))
        except BaseException:
            self._thread.stop()
            raise

    @classmethod
    def open(cls, state_dir: str | Path, **options: Any) -> Self:
        """See `Client.open`."""
        return cls(lambda: Client.open(state_dir, **options))

    @classmethod
    def from_environment(cls, state_dir: str | Path) -> Self:
        """See `Client.from_environment`."""
        return cls(lambda: Client.from_environment(state_dir))

    def __getattr__(self, name: str) -> Any:
        return blocking(getattr(self._client, name), self._thread)

    def close(self) -> None:
        self._thread.run(self._client.close())
        self._thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Blocking:
    """Something of the async client whose methods block."""

    def __init__(self, target: object, thread: LoopThread) -> None:
        self._target = target
        self._thread = thread

    def __getattr__(self, name: str) -> Any:
        return blocking(getattr(self._target, name), self._thread)

    def __iter__(self) -> Iterator[Any]:
        return iterated(self._target, self._thread)


def blocking(found: Any, thread: LoopThread) -> Any:
    """What a program without a loop can use: data as it is, the rest by way of the thread."""
    if inspect.isroutine(found):

        def call(*args: Any, **options: Any) -> Any:
            return blocking(thread.run(_called(found, args, options)), thread)

        return call
    if inspect.isasyncgen(found):
        return iterated(found, thread)
    return Blocking(found, thread) if type(found).__module__.startswith("swarm_sdk.") else found


def iterated(source: Any, thread: LoopThread) -> Iterator[Any]:
    """The items of an async iterable; it is closed when the loop over it is left."""
    items: AsyncIterator[Any] = aiter(source)
    try:
        while True:
            try:
                yield thread.run(_next(items))
            except StopAsyncIteration:
                return
    finally:
        if inspect.isasyncgen(items):
            thread.run(_closed(items.aclose()))


async def _made(make: Callable[[], Client]) -> Client:
    return make()


async def _called(function: Callable[..., Any], args: Any, options: Any) -> Any:
    answer = function(*args, **options)
    return await answer if inspect.isawaitable(answer) else answer


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items)


async def _closed(closing: Awaitable[None]) -> None:
    await closing
