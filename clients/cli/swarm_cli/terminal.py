"""A raw terminal joined to a VM's console."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from swarm_sdk.vms import Console

LEAVE = b"\x1d"  # Ctrl-]


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    """Keys go to the VM as they are typed; the terminal is put back whatever happens."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


async def attach(console: Console) -> None:
    """Joins standard input and output to the console until either side ends or Ctrl-] is typed."""
    with _raw(sys.stdin.fileno()):
        sides = [asyncio.create_task(_typed(console)), asyncio.create_task(_shown(console))]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)
            await console.close()


async def _typed(console: Console) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while data := await reader.read(1024):
        before, leave, _ = data.partition(LEAVE)
        if before:
            await console.write(before)
        if leave:
            return
    await asyncio.Event().wait()  # piped input has ended; the output goes on


async def _shown(console: Console) -> None:
    async for data in console:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
