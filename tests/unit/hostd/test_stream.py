"""How a stream ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio
import pytest

from hostd import messages as m
from hostd.link.outbox import Outbox
from hostd.link.stream import BrokenStreamError, Inbox, Stream
from hostd.messages import AttemptRef, Finished
from hostd.ports import Isolation
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2

if TYPE_CHECKING:
    from swarm.hostlink.v1.service_pb2_grpc import HostLinkServiceAsyncStub

HELLO = m.Hello(
    name="local",
    version="1",
    boot_id="b",
    capacity=m.Capacity(1, 1, 512, 4096),
    drivers=(),
    isolation=Isolation.SIM,
    labels={},
    warnings=(),
    attempts=(),
    images=(),
)


class DyingCall:
    """A fake call that takes the hello, then fails the reader and the writer in the same turn of the loop."""

    def __init__(self, read: BaseException, write: BaseException) -> None:
        self._read = read
        self._write = write
        self._both = asyncio.Barrier(2)
        self.cancelled = False

    async def write(self, request: service_pb2.AttachRequest) -> None:
        if not request.HasField("hello"):
            await self._both.wait()
            raise self._write

    async def read(self) -> service_pb2.AttachResponse:
        if not hasattr(self, "_welcomed"):
            self._welcomed = True
            return service_pb2.AttachResponse(welcome=pb.Welcome(host_id="hs_1"))
        await self._both.wait()
        raise self._read

    def cancel(self) -> None:
        self.cancelled = True


class Stub:
    def __init__(self, call: DyingCall) -> None:
        self.call = call

    def Attach(self, **_: object) -> DyingCall:  # noqa: N802  # the RPC's name
        return self.call


UNAVAILABLE = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "broken pipe")


@pytest.mark.parametrize(
    ("read", "write", "wanted"),
    [
        (UNAVAILABLE, asyncio.InvalidStateError("done"), grpc.aio.AioRpcError),
        (UNAVAILABLE, grpc.aio.UsageError("done"), grpc.aio.AioRpcError),
        (asyncio.InvalidStateError("done"), grpc.aio.UsageError("done"), BrokenStreamError),
        (BrokenStreamError("closed"), UNAVAILABLE, (BrokenStreamError, grpc.aio.AioRpcError)),
    ],
)
async def test_a_reader_and_a_writer_that_fail_at_once_are_one_end(
    read: BaseException, write: BaseException, wanted: type[BaseException] | tuple[type[BaseException], ...]
) -> None:
    outbox, ready = Outbox(), asyncio.Event()
    outbox.put(Finished(AttemptRef("at_1", "tk_1", 1)), 100)
    call = DyingCall(read, write)
    stream = Stream(outbox, Inbox(), ready, lambda _: None)

    with pytest.raises(wanted):
        await stream.run(cast("HostLinkServiceAsyncStub", Stub(call)), (), HELLO, lambda _: None)

    assert call.cancelled


class SilentCall(DyingCall):
    """Takes the hello and never answers."""

    async def read(self) -> service_pb2.AttachResponse:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_connection_that_is_silent_from_the_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostd.link.stream.WELCOME_S", 0.01)
    call = SilentCall(BrokenStreamError(), BrokenStreamError())
    stream = Stream(Outbox(), Inbox(), asyncio.Event(), lambda _: None)
    with pytest.raises(BrokenStreamError, match="no answer to the hello"):
        await stream.run(cast("HostLinkServiceAsyncStub", Stub(call)), (), HELLO, lambda _: None)
    assert call.cancelled
