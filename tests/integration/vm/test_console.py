from __future__ import annotations

import asyncio
import socket

from hostd.drivers.qemu.console import KEPT, SerialConsole


async def test_what_was_said_before_is_read_first() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    console = SerialConsole(ours)
    theirs.send(b"before ")
    await asyncio.sleep(0.05)
    reader = console.read()
    assert await anext(reader) == b"before "
    theirs.send(b"after")
    assert await anext(reader) == b"after"
    theirs.close()
    assert [data async for data in reader] == []
    console.close()


async def test_bytes_are_relayed_as_they_are_and_keys_reach_the_guest() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    console = SerialConsole(ours)
    odd = bytes(range(256))
    theirs.send(odd)
    assert await anext(console.read()) == odd
    console.type(b"ls\n")
    assert theirs.recv(100) == b"ls\n"
    console.close()
    theirs.close()


async def test_a_flood_is_slowed_down_and_only_its_end_is_kept() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    theirs.settimeout(0)
    console = SerialConsole(ours)
    sent = 0
    deadline = asyncio.get_running_loop().time() + 0.5
    while asyncio.get_running_loop().time() < deadline:
        try:
            sent += theirs.send(b"x" * 65536)
        except BlockingIOError:
            await asyncio.sleep(0.005)
    assert sent < 4 << 20
    await asyncio.sleep(0.1)
    assert len(await anext(console.read())) == KEPT
    console.close()
    theirs.close()


async def test_every_reader_gets_everything() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    console = SerialConsole(ours)

    async def collect() -> bytes:
        return b"".join([data async for data in console.read()])

    readers = [asyncio.create_task(collect()) for _ in range(3)]
    for word in (b"a", b"b", b"c"):
        theirs.send(word)
        await asyncio.sleep(0.03)
    theirs.close()
    assert await asyncio.gather(*readers) == [b"abc"] * 3
    console.close()
