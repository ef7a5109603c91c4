"""A network that misbehaves as told: a proxy between a client and a server, over TCP or Unix sockets.

Each direction of all connections, present and to come, has toxics that can be changed while bytes flow. All chance
comes from one seed.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Self

READ_BYTES = 64 << 10
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


@dataclass(slots=True)
class Toxics:
    """What happens to one direction; all off by default. Times in seconds.

    `cut_after` ends a connection once so many more bytes went this way; `slice_bytes` hands on so few at a time;
    `duplicate` and `drop` are chances per piece; `swallow` takes everything and hands on nothing, while the connection
    stays; `hold` keeps everything for later.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    slice_bytes: int = 0
    drop: float = 0.0
    duplicate: float = 0.0
    swallow: bool = False
    hold: bool = False
    cut_after: int | None = None
    reset: bool = False  # a cut is a reset instead of an orderly end


class End(Enum):
    """Which way bytes flow."""

    UP = "to the server"
    DOWN = "to the client"


@dataclass(eq=False, slots=True)
class Pair:
    """One connection: both sides, and what went each way."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    bytes: dict[End, int] = field(default_factory=lambda: dict.fromkeys(End, 0))

    def close(self, *, reset: bool = False) -> None:
        for side in (self.client, self.server):
            if reset and (raw := side.get_extra_info("socket")) is not None and raw.family != socket.AF_UNIX:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            side.transport.abort()


class FaultProxy:
    """`listen` and `target` are Unix socket paths, or (host, port); port 0 takes a free one: see `address`."""

    def __init__(self, listen: Path | tuple[str, int], target: Path | tuple[str, int], *, seed: int = 0) -> None:
        self.up = Toxics()
        self.down = Toxics()
        self.refuse = False  # new connections end at once
        self.connections = 0
        self.cuts = 0
        self.address: Path | tuple[str, int] = listen
        self._target = target
        self._random = random.Random(seed)
        self._pairs: set[Pair] = set()
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        if isinstance(self.address, Path):
            self._server = await asyncio.start_unix_server(self._accept, self.address)
        else:
            self._server = await asyncio.start_server(self._accept, *self.address)
            self.address = self._server.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        if isinstance(self.address, Path):
            self.address.unlink(missing_ok=True)

    @property
    def live(self) -> int:
        """Connections that are open now."""
        return len(self._pairs)

    def toxics(self, end: End) -> Toxics:
        return self.up if end is End.UP else self.down

    async def heal(self) -> None:
        """Everything flows again, what was held first."""
        await self.set(up=Toxics(), down=Toxics())

    async def set(self, *, up: Toxics | None = None, down: Toxics | None = None) -> None:
        self.up, self.down = up or self.up, down or self.down
        async with self._changed:
            self._changed.notify_all()

    def cut(self, *, reset: bool = False) -> None:
        """End all connections now, whatever is on its way."""
        for pair in tuple(self._pairs):
            pair.close(reset=reset)

    def arm_cut(self, least: int, most: int, end: End = End.DOWN) -> int:
        """Cut after so many further bytes, by chance between the two; returns how many."""
        count = self._random.randint(least, most)
        self.toxics(end).cut_after = count
        return count

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.refuse:
                writer.transport.abort()
                return
            await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._target, Path):
            answers, requests = await asyncio.open_unix_connection(self._target)
        else:
            answers, requests = await asyncio.open_connection(*self._target)
        pair = Pair(writer, requests)
        self._pairs.add(pair)
        self.connections += 1
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pump(pair, End.UP, reader, requests))
                ways.create_task(self._pump(pair, End.DOWN, answers, writer))
        except* (OSError, RuntimeError):  # uvloop says the latter of a handle that was closed meanwhile
            pass  # one side went; so does the other
        finally:
            self._pairs.discard(pair)
            pair.close()

    async def _pump(self, pair: Pair, end: End, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(READ_BYTES):
            await self._until(lambda: not self.toxics(end).hold)
            for piece in self._pieces(self.toxics(end), data):
                await self._pass(pair, end, piece, sink)
        # An end is a message too: it waits behind what is swallowed, and never comes while that lasts.
        await self._until(lambda: not self.toxics(end).swallow)
        if not sink.is_closing() and sink.can_write_eof():
            sink.write_eof()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    def _pieces(self, toxics: Toxics, data: bytes) -> list[bytes]:
        size = toxics.slice_bytes or len(data)
        return [data[start : start + size] for start in range(0, len(data), size)]

    async def _pass(self, pair: Pair, end: End, piece: bytes, sink: asyncio.StreamWriter) -> None:
        """One piece, with all that may happen to it."""
        toxics = self.toxics(end)
        wait = toxics.latency_s + self._random.uniform(-1, 1) * toxics.jitter_s
        if toxics.bytes_per_s:
            wait += len(piece) / toxics.bytes_per_s
        if wait > 0:
            await asyncio.sleep(wait)
        if toxics.swallow or self._random.random() < toxics.drop:
            return
        ends = toxics.cut_after is not None and len(piece) >= toxics.cut_after
        if ends:
            piece = piece[: toxics.cut_after]
        elif toxics.cut_after is not None:
            toxics.cut_after -= len(piece)
        twice = self._random.random() < toxics.duplicate
        sink.write(piece * 2 if twice else piece)
        pair.bytes[end] += len(piece)
        await sink.drain()
        if ends:
            toxics.cut_after = None
            self.cuts += 1
            pair.close(reset=toxics.reset)
