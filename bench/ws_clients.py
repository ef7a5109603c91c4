"""Many sockets that read whatever comes: `python -m bench.ws_clients PORT PATH COUNT [FIRST MESSAGE [EXTENSIONS]]`."""

from __future__ import annotations

import asyncio
import resource
import sys
from typing import Final

import uvloop
from websockets.frames import Frame, Opcode

BUFFER: Final = 1 << 16


def raise_limit() -> None:
    """As many files as this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def opened(port: int, path: str, first: str, offer: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    if offer:
        key += f"Sec-WebSocket-Extensions: {offer}\r\n"
    head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n"
    writer.write(head.encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    if bool(offer) != (b"permessage-deflate" in answer):
        raise RuntimeError(answer.decode())
    if first:
        writer.write(Frame(Opcode.TEXT, first.encode()).serialize(mask=True))
    return reader, writer


async def drained(reader: asyncio.StreamReader) -> None:
    while await reader.read(BUFFER):
        pass


async def main(port: int, path: str, count: int, first: str = "", offer: str = "") -> None:
    pairs = [await opened(port, path, first, offer) for _ in range(count)]
    sys.stdout.write("open\n")
    sys.stdout.flush()
    await asyncio.gather(*(drained(reader) for reader, _ in pairs))


if __name__ == "__main__":
    raise_limit()
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:]))
