from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostd.broker.bucket import Bucket
from hostd.broker.wire import _HEADER, Assembler, Channel, Kind, Message, WireError, packets


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@given(
    st.lists(
        st.builds(
            Message, st.integers(0, 255), st.integers(0, 65535), st.integers(0, 2**64 - 1), st.binary(max_size=200000)
        ),
        max_size=4,
    )
)
def test_messages_travel_whole(messages: list[Message]) -> None:
    assembler = Assembler()
    got = [done for message in messages for packet in packets(message) if (done := assembler.feed(packet)) is not None]
    assert got == messages


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_packets_are_messages_or_an_error(data: list[bytes]) -> None:
    assembler = Assembler()
    try:
        for packet in data:
            assembler.feed(packet)
    except WireError:
        pass


def test_a_message_without_end_is_refused() -> None:
    assembler = Assembler()
    packet = packets(Message(1, 1, 0, bytes(200000)))[0]
    for _ in range(160):
        assembler.feed(packet)
    with pytest.raises(WireError):
        any(map(assembler.feed, [packet] * 20))


def test_a_message_of_nothing_without_end_is_refused() -> None:
    with pytest.raises(WireError):
        Assembler().feed(_HEADER.pack(Kind.EVENTS, True, 1, 0, 0))  # noqa: FBT003 - a field of the header


async def test_descriptors_do_not_pile_up_behind_a_message_without_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ended = asyncio.Event()
    channel = Channel(ours, lambda *_: None, ended.set)
    before = open_files()
    with theirs, contextlib.suppress(BrokenPipeError):
        for _ in range(10):
            socket.send_fds(theirs, [_HEADER.pack(Kind.EVENTS, True, 1, 1, 0) + b"x"], [0, 1, 2])  # noqa: FBT003
        async with asyncio.timeout(60):
            await ended.wait()
    channel.close()
    assert open_files() <= before


async def test_a_channel_carries_messages_and_descriptors_both_ways() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    got: asyncio.Queue[tuple[Message, list[int]]] = asyncio.Queue()
    ended = asyncio.Event()
    here = Channel(ours, lambda *_: None, lambda: None)
    there = Channel(theirs, lambda message, fds: got.put_nowait((message, fds)), ended.set)
    large = Message(Kind.EVENTS, 7, 3, os.urandom(3 << 20))
    reader, writer = os.pipe()
    here.send(large, [writer])
    os.close(writer)
    message, (fd,) = await got.get()
    assert message == large
    os.write(fd, b"x")
    assert os.read(reader, 1) == b"x"
    os.close(fd)
    os.close(reader)
    here.close()
    await ended.wait()
    there.close()


def test_a_bucket_lets_through_its_rate_and_a_burst() -> None:
    bucket = Bucket(10)
    start = bucket._time
    assert sum(bucket.take(1, start) for _ in range(100)) == 20
    assert not bucket.take(1, start + 0.05)
    assert bucket.take(1, start + 0.2)
    assert sum(bucket.take(1, start + 1000) for _ in range(100)) == 20
    assert Bucket(10).take(10**9)
