"""The proxy itself: what it does to bytes is what it was told, no more."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fakes.fault_proxy import End, FaultProxy, Toxics


@dataclass
class Echo:
    """A server that answers what it gets, and remembers it."""

    heard: bytearray = field(default_factory=bytearray)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.heard += data
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.ended.set()
            writer.close()


@dataclass
class Line:
    """A client's connection through the proxy to the echo."""

    proxy: FaultProxy
    echo: Echo
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self, count: int) -> bytes:
        async with asyncio.timeout(60):
            return await self.reader.readexactly(count)

    async def silent(self) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await self.reader.read(1)


@asynccontextmanager
async def line(*, unix: bool, seed: int = 0) -> AsyncIterator[Line]:
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        echo = Echo()
        behind, front = Path(folder) / "server", Path(folder) / "proxy"
        if unix:
            server = await asyncio.start_unix_server(echo.serve, behind)
            proxy = FaultProxy(front, behind, seed=seed)
        else:
            server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
            proxy = FaultProxy(("127.0.0.1", 0), server.sockets[0].getsockname()[:2], seed=seed)
        async with server, proxy:
            if isinstance(proxy.address, Path):
                reader, writer = await asyncio.open_unix_connection(proxy.address)
            else:
                reader, writer = await asyncio.open_connection(*proxy.address)
            yield Line(proxy, echo, reader, writer)
            writer.transport.abort()


@pytest.fixture(params=[True, False], ids=["unix", "tcp"])
async def wire(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    async with line(unix=request.param) as made:
        yield made


async def test_without_toxics_nothing_changes(wire: Line) -> None:
    data = bytes(range(256)) * 2000
    await wire.say(data)
    assert await wire.hear(len(data)) == data
    wire.writer.write_eof()
    async with asyncio.timeout(60):
        await wire.echo.ended.wait()


async def test_latency_delays_and_slices_keep_the_order(wire: Line) -> None:
    await wire.proxy.set(up=Toxics(latency_s=0.05), down=Toxics(slice_bytes=7, jitter_s=0.001))
    began = time.monotonic()
    await wire.say(b"abc" * 20)
    assert await wire.hear(60) == b"abc" * 20
    assert time.monotonic() - began >= 0.05


async def test_a_bandwidth_is_not_exceeded(wire: Line) -> None:
    await wire.proxy.set(up=Toxics(bytes_per_s=100_000, slice_bytes=1000))
    began = time.monotonic()
    await wire.say(b"x" * 20_000)
    await wire.hear(20_000)
    assert time.monotonic() - began >= 0.2


async def test_a_half_open_connection_takes_and_gives_nothing(wire: Line) -> None:
    await wire.proxy.set(down=Toxics(swallow=True))
    await wire.say(b"lost")
    await wire.silent()
    assert wire.echo.heard == b"lost"
    assert wire.proxy.live == 1
    await wire.proxy.heal()
    await wire.say(b"found")
    assert await wire.hear(5) == b"found"


async def test_what_is_held_comes_later(wire: Line) -> None:
    await wire.proxy.set(up=Toxics(hold=True))
    await wire.say(b"first")
    await wire.silent()
    await wire.proxy.heal()
    assert await wire.hear(5) == b"first"


@pytest.mark.parametrize("end", list(End))
async def test_a_cut_comes_after_exactly_so_many_bytes(wire: Line, end: End) -> None:
    wire.proxy.toxics(end).cut_after = 1000
    await wire.say(b"y" * 5000)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)) as broken:
        await wire.hear(5000)
    async with asyncio.timeout(60):
        await wire.echo.ended.wait()
    assert wire.proxy.cuts == 1
    if end is End.UP:
        assert len(wire.echo.heard) == 1000
    elif isinstance(broken.value, asyncio.IncompleteReadError):
        assert len(broken.value.partial) == 1000


async def test_a_reset_is_told_as_one() -> None:
    async with line(unix=False) as wire:
        await wire.say(b"x")
        await wire.hear(1)
        wire.proxy.cut(reset=True)
        with pytest.raises(ConnectionResetError):
            await wire.hear(1)


async def test_a_piece_may_come_twice_or_never(wire: Line) -> None:
    await wire.proxy.set(up=Toxics(duplicate=1.0))
    await wire.say(b"ab")
    assert await wire.hear(4) == b"abab"
    await wire.proxy.set(up=Toxics(drop=1.0))
    await wire.say(b"gone")
    await wire.silent()


async def test_new_connections_can_be_refused(wire: Line) -> None:
    wire.proxy.refuse = True
    address = wire.proxy.address
    opened = asyncio.open_unix_connection(address) if isinstance(address, Path) else asyncio.open_connection(*address)
    reader, writer = await opened
    try:
        assert await reader.read() == b""
    except ConnectionError:
        pass
    finally:
        writer.close()
    await wire.say(b"old ones stay")
    await wire.hear(13)


async def test_the_same_seed_is_the_same_chance() -> None:
    async def cuts(seed: int) -> list[int]:
        async with line(unix=True, seed=seed) as wire:
            return [wire.proxy.arm_cut(1, 1_000_000) for _ in range(5)]

    assert await cuts(7) == await cuts(7)
    assert await cuts(7) != await cuts(8)
