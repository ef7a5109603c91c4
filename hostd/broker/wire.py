"""What hostd and the broker send each other over their socket pair: packets with a fixed header.

A message is one packet or several; all but the last are marked with `more`. Descriptors travel with the first packet.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from hostd.ports import MOST_BUNDLES

_HEADER = struct.Struct("!B?HIQ")  # kind, more, slot, bytes of payload in this packet, value
_PIECE = 48 << 10
_PACKET = _HEADER.size + _PIECE
_MESSAGE_LIMIT = 8 << 20
_BACKLOG_HIGH = 4 << 20
_FDS = 2 + MOST_BUNDLES


class Kind(IntEnum):
    """To the broker below 32, from it above."""

    ATTACH = 1  # JSON; listener, doorbell and bundles as descriptors
    DETACH = 2
    RING = 3
    ANSWER = 4  # UTF-8; value: number of its question
    PUSHED = 5  # object id; value 1: the upstream took it
    SUSPEND = 6
    RESTORE = 7
    PING = 8  # answered by READY; slot 0
    ASK = 12  # have the guest give a sign of life
    FIRST_BYTE = 32  # value: monotonic nanoseconds
    AGENT_STARTED = 33  # value: monotonic nanoseconds
    EVENTS = 34  # encoded EventBatch; value: number of log lines, when it holds nothing else
    PUSH = 35  # object id
    OUTCOME = 36  # object id or 40 blanks, then the encoded Outcome; value 1: succeeded
    BLOCKED = 37  # UTF-8
    VIOLATION = 38  # UTF-8
    FINDINGS = 39  # UTF-8, a line each
    READY = 40  # unprivileged and alive; slot 0
    PROGRESS = 42  # value 1: a person is asked
    ALIVE = 48  # the first sign of life after an ASK; value: monotonic nanoseconds


class WireError(Exception):
    """A packet that no correct peer sends."""


@dataclass(frozen=True, slots=True)
class Message:
    kind: int
    slot: int
    value: int = 0
    payload: bytes = b""


def packets(message: Message) -> list[bytes]:
    """The message as it travels."""
    pieces = [message.payload[at : at + _PIECE] for at in range(0, len(message.payload), _PIECE)] or [b""]
    last = len(pieces) - 1
    return [
        _HEADER.pack(message.kind, index < last, message.slot, len(piece), message.value) + piece
        for index, piece in enumerate(pieces)
    ]


class Assembler:
    """Puts packets together again; holds at most one unfinished message of bounded size."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._begun: tuple[int, int, int] | None = None

    def feed(self, packet: bytes) -> Message | None:
        """The message that this packet completes, if it does. `WireError`."""
        if len(packet) < _HEADER.size:
            raise WireError("packet without a header")
        kind, more, slot, length, value = _HEADER.unpack_from(packet)
        if length != len(packet) - _HEADER.size or (self._begun and self._begun != (kind, slot, value)):
            raise WireError("packet out of place")
        if more and not length:  # any number of these would stay below every limit of bytes
            raise WireError("empty packet in the middle of a message")
        self._begun = (kind, slot, value)
        self._pieces.append(packet[_HEADER.size :])
        self._size += length
        if self._size > _MESSAGE_LIMIT:
            raise WireError("message too long")
        if more:
            return None
        payload = b"".join(self._pieces)
        self._pieces, self._size, self._begun = [], 0, None
        return Message(kind, slot, value, payload)


class Channel:
    """One end of the socket pair on the running loop. `receive` is called per message, `closed` once at its end."""

    def __init__(
        self, sock: socket.socket, receive: Callable[[Message, list[int]], None], closed: Callable[[], None]
    ) -> None:
        sock.settimeout(0)
        self._socket = sock
        self._receive = receive
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._assembler = Assembler()
        self._fds: list[int] = []
        self._queue: deque[tuple[bytes, Sequence[int]]] = deque()
        self._queued = 0
        self._room = asyncio.Event()
        self._room.set()
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Queue a message; `fds` are duplicated at once. After the end it is dropped."""
        if self._socket.fileno() < 0:
            return
        own = [os.dup(fd) for fd in fds]
        for packet in packets(message):
            self._queue.append((packet, own))
            self._queued += len(packet)
            own = []
        if self._queued > _BACKLOG_HIGH:
            self._room.clear()
        self._flush()

    async def drained(self) -> None:
        """Wait until the peer keeps up."""
        await self._room.wait()

    def close(self) -> None:
        """Idempotent; does not call `closed`."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for fd in [*self._fds, *(fd for _, fds in self._queue for fd in fds)]:
            os.close(fd)
        self._queue.clear()
        self._room.set()

    def _flush(self) -> None:
        while self._queue:
            packet, fds = self._queue[0]
            try:
                socket.send_fds(self._socket, [packet], fds) if fds else self._socket.send(packet)
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._socket.fileno(), self._flush)
                return
            except OSError:
                self._end()
                return
            self._queue.popleft()
            self._queued -= len(packet)
            for fd in fds:
                os.close(fd)
        self._room.set()
        self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            for _ in range(64):
                if not self._read_packet():
                    return

    def _read_packet(self) -> bool:
        try:
            packet, fds, flags, _ = socket.recv_fds(self._socket, _PACKET, _FDS, socket.MSG_CMSG_CLOEXEC)
            self._fds += fds
            broken = flags & socket.MSG_TRUNC or len(self._fds) > _FDS
            message = self._assembler.feed(b"" if broken else packet)
        except (BlockingIOError, InterruptedError):
            return False
        except (OSError, WireError):
            self._end()
            return False
        if message is not None:
            handed, self._fds = self._fds, []
            self._receive(message, handed)
        return self._socket.fileno() >= 0

    def _end(self) -> None:
        self.close()
        self._closed()
