from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from controlplane.gateway import guard
from controlplane.gateway.guard import Guard


class Reader:
    """Keeps what it is fed."""

    def __init__(self) -> None:
        self.got = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.got += data
        return False, b""

    def feed_eof(self) -> None:
        self.got += b"<eof>"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def reader() -> Reader:
    return Reader()


def guarded(reader: Reader, clock: Clock | None = None) -> Guard:
    return Guard(reader, clock=clock or Clock())  # type: ignore[arg-type]  # as much of it as is used


def masked(size: int) -> bytes:
    return Frame(Opcode.BINARY, b"x" * size).serialize(mask=True)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 10**6])
def test_good_frames_pass_as_they_are_in_whatever_pieces(reader: Reader, size: int) -> None:
    data = b"".join(masked(length) for length in (0, 1, 125, 126, 65_535, 65_536))
    tested = guarded(reader)
    for start in range(0, len(data), size):
        tested.feed_data(data[start : start + size])
    tested.feed_eof()
    assert reader.got == data + b"<eof>"


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_frame_without_a_mask_becomes_one_that_no_reader_takes(reader: Reader, size: int) -> None:
    good, bad = masked(3), Frame(Opcode.TEXT, b"hello").serialize(mask=False)
    tested = guarded(reader)
    data = good + bad + good
    for start in range(0, len(data), size):
        tested.feed_data(data[start : start + size])
    assert reader.got == good + b"\xf0\x80"


def test_frames_are_counted_whatever_they_are(reader: Reader) -> None:
    clock, ping = Clock(), Frame(Opcode.PING, b"").serialize(mask=True)
    tested = guarded(reader, clock)
    for _ in range(int(guard.BURST)):
        assert tested.feed_data(ping) == (False, b"")
    clock.now += 1 / guard.PER_SECOND
    tested.feed_data(ping)
    assert b"\xf0\x80" not in reader.got
    tested.feed_data(ping)
    assert reader.got.endswith(b"\xf0\x80")
    assert tested.feed_data(ping) == (True, b"")
