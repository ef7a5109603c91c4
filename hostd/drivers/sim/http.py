"""The few HTTP/1.1 exchanges of an in-process guest: one request per connection, JSON both ways."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hostd.errors import BrokerError

RESPONSE_BYTES = 16 << 20


async def call(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and decoded body (None when empty). `BrokerError` for anything but a well-formed answer."""
    payload = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(head.encode() + b"\r\n" + payload)
            await writer.drain()
            return await _response(reader)
        finally:
            writer.close()
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise BrokerError(f"{method} {path}: {error!r}") from error


async def _response(reader: asyncio.StreamReader) -> tuple[int, Any]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = int(headers.get("content-length") or 0)
    if length > RESPONSE_BYTES:
        raise ValueError(f"answer of {length} bytes")
    data = await reader.readexactly(length)
    return int(lines[0].split()[1]), json.loads(data) if data else None
