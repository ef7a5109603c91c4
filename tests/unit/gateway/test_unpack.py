"""Compressed messages among frames, before the reader that takes them and beside those that it takes itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import zlib
from typing import Any

import pytest
from aiohttp import EofStream, WSCloseCode
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_websocket import WebSocketError, WebSocketReader
from websockets.frames import Frame, Opcode

from controlplane.gateway.deflate import deflated
from controlplane.gateway.guard import Guard
from controlplane.gateway.unpack import Unpack

LONGEST = 64 << 10
TEXT = '{"type":"subscribe","rooms":["tenant:default"]}' * 10


def written(frame: Frame) -> bytes:
    """As it is, whatever its first byte should be."""
    first = frame.fin << 7 | frame.rsv1 << 6 | frame.rsv2 << 5 | frame.rsv3 << 4 | frame.opcode
    return bytes((first,)) + Frame(Opcode.BINARY, frame.data).serialize(mask=True)[1:]


async def heard(*frames: Frame | bytes, agreed: bool = True, size: int = 10**9) -> list[Any]:
    """Data of the messages that a socket's handler gets, and the code of a close at its end."""
    loop = asyncio.get_running_loop()
    queue = WebSocketDataQueue(BaseProtocol(loop), 1 << 20, loop=loop)
    reader = WebSocketReader(queue, LONGEST, compress=False, decode_text=True)
    guard = Guard(reader, Unpack(LONGEST) if agreed else None)
    data = b"".join(each if isinstance(each, bytes) else written(each) for each in frames)
    for start in range(0, len(data), size):
        guard.feed_data(data[start : start + size])
    failed, found = queue.exception(), []
    guard.feed_eof()
    with contextlib.suppress(EofStream, WebSocketError):
        while True:
            found.append((await queue.read()).data)
    return found if failed is None else [*found, code_of(failed)]


def code_of(error: BaseException) -> int:
    assert isinstance(error, WebSocketError)
    return int(error.code)


def packed(data: str | bytes, *, cut: int = 0) -> list[Frame]:
    """A message in as many frames as are cut from it."""
    opcode, raw = (Opcode.TEXT, data.encode()) if isinstance(data, str) else (Opcode.BINARY, data)
    small, parts = deflated(raw), list[Frame]()
    step = len(small) // (cut + 1) + 1
    pieces = [small[at : at + step] for at in range(0, len(small), step)]
    for number, piece in enumerate(pieces):
        kind, last = (Opcode.CONT if number else opcode), number == len(pieces) - 1
        parts.append(Frame(kind, piece, fin=last, rsv1=not number))
    return parts


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 10**6])
@pytest.mark.parametrize("cut", [0, 1, 5])
async def test_packed_and_plain_messages_come_in_order(size: int, cut: int) -> None:
    plain = Frame(Opcode.TEXT, b"plain")
    halves = Frame(Opcode.TEXT, b"pl", fin=False), Frame(Opcode.CONT, b"ain")
    frames = [*packed(TEXT, cut=cut), plain, *halves, *packed(b"\x00\xff" * 200, cut=cut), *packed(""), plain]
    assert await heard(*frames, size=size) == [TEXT, "plain", "plain", b"\x00\xff" * 200, "", "plain"]


async def test_control_frames_come_between_the_pieces_of_a_message() -> None:
    first, second, *rest = packed(TEXT, cut=3)
    assert await heard(first, Frame(Opcode.PING, b"?"), second, Frame(Opcode.PONG, b"!"), *rest) == [b"?", b"!", TEXT]


async def test_a_message_packed_in_a_window_of_fifteen_bits_is_read() -> None:
    noise = os.urandom(15_000).hex()
    pack = zlib.compressobj(9, wbits=-15)
    small = (pack.compress((noise + noise).encode()) + pack.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert await heard(Frame(Opcode.TEXT, small, rsv1=True)) == [noise + noise]


PROTOCOL, TOO_BIG, NO_TEXT = WSCloseCode.PROTOCOL_ERROR, WSCloseCode.MESSAGE_TOO_BIG, WSCloseCode.INVALID_TEXT
BEGUN = Frame(Opcode.TEXT, b"x", fin=False)
PIECE, *_ = packed(TEXT, cut=3)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([Frame(Opcode.PING, b"", rsv1=True)], PROTOCOL),
        ([Frame(Opcode.CLOSE, b"", rsv1=True)], PROTOCOL),
        ([Frame(Opcode.CONT, b"x", rsv1=True)], PROTOCOL),
        ([BEGUN, Frame(Opcode.CONT, b"x", rsv1=True)], PROTOCOL),
        ([BEGUN, *packed(TEXT)], PROTOCOL),
        ([PIECE, Frame(Opcode.CONT, b"x", rsv1=True)], PROTOCOL),
        ([PIECE, Frame(Opcode.CONT, b"x", rsv2=True)], PROTOCOL),
        ([PIECE, Frame(Opcode.TEXT, b"x")], PROTOCOL),
        ([PIECE, *packed(TEXT)], PROTOCOL),
        ([PIECE, Frame(Opcode.PING, b"", fin=False)], PROTOCOL),
        ([Frame(Opcode.TEXT, b"x", rsv1=True, rsv2=True)], PROTOCOL),
        ([Frame(Opcode.TEXT, b"x", rsv1=True, rsv3=True)], PROTOCOL),
        ([b"\xc3\x80\0\0\0\0"], PROTOCOL),
        ([Frame(Opcode.TEXT, b"\xff" * 10, rsv1=True)], PROTOCOL),
        ([PIECE, Frame(Opcode.CONT, b"\xff" * 10)], PROTOCOL),
        ([Frame(Opcode.TEXT, deflated(TEXT.encode())[:-9], rsv1=True)], PROTOCOL),
        ([Frame(Opcode.TEXT, deflated(b"\xff\xfe"), rsv1=True)], NO_TEXT),
        (packed("a" * (8 << 20)), TOO_BIG),
        (packed("a" * (8 << 20), cut=7), TOO_BIG),
        (packed("a" * (LONGEST + 1)), TOO_BIG),
        ([Frame(Opcode.TEXT, b"\0" * LONGEST + b"\0", rsv1=True)], TOO_BIG),
        ([PIECE, Frame(Opcode.CONT, b"\0" * 40_000, fin=False), Frame(Opcode.CONT, b"\0" * 40_000)], TOO_BIG),
        ([b"\xc1\xff" + b"\x7f" * 8 + b"\0\0\0\0"], TOO_BIG),
    ],
)
@pytest.mark.parametrize("size", [3, 10**9])
async def test_breaches_end_the_socket(frames: list[Frame | bytes], code: int, size: int) -> None:
    assert (await heard(*frames, Frame(Opcode.TEXT, b"after"), size=size))[-1] == code


async def test_what_was_not_agreed_on_ends_the_socket() -> None:
    assert await heard(*packed(TEXT), agreed=False) == [PROTOCOL]


async def test_the_longest_message_is_read() -> None:
    assert await heard(*packed("a" * (LONGEST - 1))) == ["a" * (LONGEST - 1)]
