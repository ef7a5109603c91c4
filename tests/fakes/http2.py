"""HTTP/2 frames by hand, for what no well-behaved client sends."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, END_HEADERS = 0x1, 0x4


class Kind(IntEnum):
    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def packed(headers: Mapping[str, str]) -> bytes:
    """HPACK without its tables: each header in full, below 127 bytes."""
    pairs = ((name.encode(), value.encode()) for name, value in headers.items())
    return b"".join(b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in pairs)


def call(path: str, token: str) -> bytes:
    """The headers of a call of gRPC."""
    return packed(
        {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
            "authorization": f"Bearer {token}",
        }
    )


def reset(stream: int) -> bytes:
    """CANCEL."""
    return frame(Kind.RST_STREAM, struct.pack(">I", 8), stream=stream)


class Line:
    """A connection that has begun."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> bool:
        """Whether the other end still takes it."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            return False
        return not self.writer.is_closing()

    async def frame(self) -> tuple[int, bytes]:
        head = await self.reader.readexactly(9)
        return head[3], await self.reader.readexactly(int.from_bytes(head[:3]))

    async def ended(self) -> int | None:
        """The code of the GOAWAY before the end of the connection; None: it ended without one."""
        code = None
        try:
            while True:
                kind, payload = await self.frame()
                if kind == Kind.GOAWAY:
                    code = int.from_bytes(payload[4:8])
        except (asyncio.IncompleteReadError, ConnectionError):
            return code


@asynccontextmanager
async def line(socket: Path) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(PREFACE + frame(Kind.SETTINGS))
    try:
        yield Line(reader, writer)
    finally:
        writer.close()
