"""One connection of a guest: requests are read within limits of size and time, answers written with backpressure."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any

from hostd.broker.http1 import HEAD_LIMIT, Head, check_line, parse_chunk_size, parse_head
from hostd.broker.refusal import Refusal

HEAD_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 75.0
STALL_TIMEOUT_S = 60.0
_PIECE = 1 << 16
_CHUNK_LINE = 10
_JSON = "application/json"


class Connection:
    """Also the answer's writer: either `reply`, or `start`, `send` and `finish`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        address = writer.get_extra_info("sockname")
        self.host = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "localhost"
        self.first_byte_ns = 0
        self.answered = False
        self.body_left = False
        self._continue = False

    async def read_head(self) -> Head | None:
        """The next request; None when the guest hung up or stayed silent in between."""
        try:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                first = await self._reader.read(1)
        except TimeoutError:
            return None
        if not first:
            return None
        self.first_byte_ns = self.first_byte_ns or time.monotonic_ns()
        self.answered = False
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                lines = await self._read_lines(first)
        except TimeoutError:
            raise Refusal(408, f"the head took longer than {HEAD_TIMEOUT_S:.0f} s") from None
        head = parse_head(lines, self.host)
        self.body_left = head.has_body
        self._continue = head.headers.get("expect", "") != ""
        return head

    async def _read_lines(self, first: bytes) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        while True:
            line = first + await self._read_line()
            first = b""
            size += len(line)
            if size > HEAD_LIMIT:
                raise Refusal(431, f"the head is longer than {HEAD_LIMIT >> 10} KiB")
            content = check_line(line)
            if not content:
                if not lines:
                    raise Refusal(400, "an empty line is no request")
                return lines
            lines.append(content)

    async def _read_line(self) -> bytes:
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise Refusal(431, f"the head is longer than {HEAD_LIMIT >> 10} KiB") from None

    async def read_body(self, head: Head, limit: int) -> bytes:
        """A whole body of at most `limit` bytes."""
        return b"".join([piece async for piece in self.pieces(head, limit)])

    async def pieces(self, head: Head, limit: int) -> AsyncGenerator[bytes, None]:
        """The body in pieces of at most 64 KiB."""
        if head.length is not None and head.length > limit:
            raise Refusal(413, f"the body is longer than {limit} bytes")
        if self._continue:
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._continue = False
        try:
            async for piece in self._chunks(limit) if head.length is None else self._fixed(head.length):
                yield piece
        except TimeoutError:
            raise Refusal(408, f"the body stood still for {STALL_TIMEOUT_S:.0f} s") from None
        self.body_left = False

    async def _fixed(self, length: int) -> AsyncIterator[bytes]:
        while length:
            piece = await self._read(min(length, _PIECE))
            length -= len(piece)
            yield piece

    async def _chunks(self, limit: int) -> AsyncIterator[bytes]:
        total = 0
        while size := parse_chunk_size(await self._read_short_line()):
            total += size
            if total > limit:
                raise Refusal(413, f"the body is longer than {limit} bytes")
            async for piece in self._fixed(size):
                yield piece
            if await self._read_short_line() != b"\r\n":
                raise Refusal(400, "a chunk ends with CR LF")
        if await self._read_short_line() != b"\r\n":
            raise Refusal(400, "the last chunk has no trailer")

    async def _read(self, size: int) -> bytes:
        async with asyncio.timeout(STALL_TIMEOUT_S):
            piece = await self._reader.read(size)
        if not piece:
            raise asyncio.IncompleteReadError(b"", size)
        return piece

    async def _read_short_line(self) -> bytes:
        async with asyncio.timeout(STALL_TIMEOUT_S):
            line = await self._read_line()
        if len(line) > _CHUNK_LINE:
            raise Refusal(400, "a chunk begins with its size in hex and nothing else")
        return line

    async def reply(
        self,
        status: int,
        body: bytes = b"",
        *,
        kind: str = _JSON,
        headers: Mapping[str, str] | None = None,
        last: bool = False,
    ) -> None:
        """A whole answer."""
        fields = {**(headers or {}), "Content-Length": str(len(body))}
        if body:
            fields["Content-Type"] = kind
        await self._begin(status, fields, last=last)
        await self._write(body)

    async def reply_json(self, value: Mapping[str, Any], *, status: int = 200, last: bool = False) -> None:
        """An object as JSON."""
        headers = {"Retry-After": "1"} if status == HTTPStatus.TOO_MANY_REQUESTS else None
        await self.reply(status, json.dumps(value).encode(), headers=headers, last=last)

    async def start(self, kind: str, headers: Mapping[str, str] | None = None) -> None:
        """Begin an answer whose length is not known."""
        await self._begin(200, {**(headers or {}), "Content-Type": kind, "Transfer-Encoding": "chunked"})

    async def send(self, data: bytes) -> None:
        """A piece of a begun answer."""
        if data:
            await self._write(b"%x\r\n%b\r\n" % (len(data), data))

    async def finish(self) -> None:
        """End of a begun answer."""
        await self._write(b"0\r\n\r\n")

    async def _begin(self, status: int, fields: Mapping[str, str], *, last: bool = False) -> None:
        self.answered = True
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            *(f"{name}: {value}" for name, value in fields.items()),
        ]
        if last or self.body_left:
            lines.append("Connection: close")
        self._writer.write("\r\n".join([*lines, "Cache-Control: no-store", "", ""]).encode())

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        try:
            async with asyncio.timeout(STALL_TIMEOUT_S):
                await self._writer.drain()
        except TimeoutError:
            raise ConnectionResetError("the guest does not read") from None

    def abort(self) -> None:
        """Drop the connection at once."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Let the guest read what was written, then drop the connection."""
        try:
            async with asyncio.timeout(1):
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                while await self._reader.read(_PIECE):
                    pass
        except (TimeoutError, OSError):
            pass
        self.abort()
