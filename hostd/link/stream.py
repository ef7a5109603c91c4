"""One Attach stream: hello and welcome, then numbered messages both ways until it breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import grpc.aio
from google.protobuf import json_format

from hostd import messages as m
from hostd.failpoint import failpoint
from hostd.link import convert
from hostd.link.outbox import Batch, Outbox
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2

if TYPE_CHECKING:
    from swarm.hostlink.v1.service_pb2_grpc import HostLinkServiceAsyncStub

    Call = grpc.aio.StreamStreamCall[service_pb2.AttachRequest, service_pb2.AttachResponse]

log = logging.getLogger("hostd.link")

# An ack only lets the other side forget; it rides on the next message unless there is none for so long.
ACK_S = 0.1
# A connection may go silent before the first answer, when no renewal is missed yet.
WELCOME_S = 15.0


class BrokenStreamError(Exception):
    """The stream ended, or the peer broke the numbering; a new one resumes."""


class SilentPeerError(BrokenStreamError):
    """Nothing comes back: the connection may be dead although nobody has said so."""


ENDS = (BrokenStreamError, grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError)


class Inbox:
    """Numbers received from the control plane under this boot id."""

    def __init__(self) -> None:
        self.last = 0

    def admit(self, seq: int) -> bool:
        """True: process it. False: unnumbered, or seen before. `BrokenStreamError` when something is missing."""
        if seq <= self.last:
            return False
        if self.last and seq != self.last + 1:
            raise BrokenStreamError(f"control plane sent message {seq} after {self.last}")
        self.last = seq
        return True


class Stream:
    """Lives as long as one gRPC call; `outbox` and `inbox` outlive it."""

    def __init__(
        self, outbox: Outbox, inbox: Inbox, ready: asyncio.Event, handle: Callable[[m.ControlEvent], None]
    ) -> None:
        self._outbox = outbox
        self._inbox = inbox
        self._ready = ready
        self._handle = handle
        self._ack_due = False
        self._ack_now = False

    async def run(
        self,
        stub: HostLinkServiceAsyncStub,
        metadata: tuple[tuple[str, str], ...],
        hello: m.Hello,
        welcomed: Callable[[m.Welcome], None],
    ) -> None:
        """Until the stream breaks: always ends with `BrokenStreamError` or `grpc.aio.AioRpcError`."""
        call: Call = stub.Attach(metadata=metadata)
        try:
            welcome = await self._greet(call, hello)
            self._outbox.ack(welcome.resume_from)
            resend = self._outbox.unacked()
            welcomed(welcome)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(call, resend))
                tasks.create_task(self._read(call))
        except ENDS as error:
            raise _cause((error,)) from None
        except BaseExceptionGroup as errors:
            # No `except*`: before Python 3.11.4 what it raises becomes a group again.
            if errors.split(ENDS)[1]:
                raise
            raise _cause(errors.exceptions) from None
        finally:
            call.cancel()

    async def _greet(self, call: Call, hello: m.Hello) -> m.Welcome:
        try:
            async with asyncio.timeout(WELCOME_S):
                await call.write(service_pb2.AttachRequest(ack=self._inbox.last, hello=convert.hello(hello)))
                return await self._welcome(call)
        except TimeoutError:
            raise SilentPeerError("no answer to the hello") from None

    async def _welcome(self, call: Call) -> m.Welcome:
        first = await call.read()
        if not isinstance(first, service_pb2.AttachResponse) or not first.HasField("welcome"):
            raise BrokenStreamError("control plane did not answer the hello")
        welcome = convert.welcome(first.welcome)
        self._take(first)
        return welcome

    async def _read(self, call: Call) -> None:
        while isinstance(response := await call.read(), service_pb2.AttachResponse):
            self._take(response)
        raise BrokenStreamError("control plane closed the stream")

    def _take(self, response: service_pb2.AttachResponse) -> None:
        self._outbox.ack(response.ack)
        if self._inbox.admit(response.seq):
            for event in response.events:
                self._handle(_convert(event))
        if response.seq and response.events and not self._ack_due:
            self._ack_due = True
            asyncio.get_running_loop().call_later(ACK_S, self._hurry)
        # The window may have opened, or an ack is due.
        self._ready.set()

    def _hurry(self) -> None:
        """Nothing was said since that could have carried the ack."""
        self._ack_now = self._ack_due
        self._ready.set()

    async def _write(self, call: Call, resend: tuple[Batch, ...]) -> None:
        for batch in resend:
            await self._send(call, batch)
        while True:
            self._ready.clear()
            while fresh := self._outbox.next():
                await self._send(call, fresh)
            if self._ack_now:
                self._ack_due = self._ack_now = False
                await call.write(service_pb2.AttachRequest(ack=self._inbox.last))
            await self._ready.wait()
            # Whatever else is said in this turn of the loop, such as a renewal for what arrived, goes along.
            await asyncio.sleep(0)

    async def _send(self, call: Call, batch: Batch) -> None:
        await failpoint("link_before_send")
        self._ack_due = self._ack_now = False
        events = [convert.host_event(item.event) for item in batch.items]
        await call.write(service_pb2.AttachRequest(seq=batch.seq, ack=self._inbox.last, events=events))


def _convert(event: pb.ControlEvent) -> m.ControlEvent:
    """One event that makes no sense must not break the stream again and again."""
    try:
        return convert.control_event(event)
    except (ValueError, json_format.Error) as error:
        log.error("unreadable message of the control plane", extra={"reason": str(error)})  # noqa: TRY400
        return m.Unknown()


def _cause(errors: Iterable[BaseException]) -> BaseException:
    """Why the stream ended. grpc.aio reports a write on a call that ended in the meantime as a misuse."""
    told = (error for error in _leaves(errors) if isinstance(error, BrokenStreamError | grpc.aio.AioRpcError))
    return next(told, BrokenStreamError("the call ended while a message was being written"))


def _leaves(errors: Iterable[BaseException]) -> Iterator[BaseException]:
    for error in errors:
        yield from _leaves(error.exceptions) if isinstance(error, BaseExceptionGroup) else (error,)
