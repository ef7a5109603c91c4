"""One stream of a host, from its hello to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from typing import Final

from controlplane.domain.lease import TIMES, LeaseTimes
from controlplane.errors import DiskFull, FailedPrecondition, InvalidInput, SwarmError, Unavailable
from controlplane.failpoint import hit
from controlplane.fleet.outbound import Batch
from controlplane.fleet.peer import Peer
from controlplane.fleet.reports import confirmed, report_of
from controlplane.ports import Store
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2

INBOX: Final = 64
UNSTORED_BYTES: Final = 16 << 20  # a host keeps less than this unacknowledged
BATCH_MESSAGES: Final = 64

# What only confirms may wait, by this part of the time between two renewals, for something to ride along with.
PATIENCE: Final = 1 / 50
MOST_EVENTS: Final = 1000

Noticed = Callable[[Peer, Sequence[pb.HostEvent]], None]


class Session:
    """Reads ahead a little, commits what has arrived as one write, and acknowledges after the commit."""

    def __init__(
        self,
        store: Store,
        peer: Peer,
        welcome: pb.Welcome,
        noticed: Noticed,
        times: LeaseTimes = TIMES,
        *,
        heard: Callable[[Peer], None] = lambda _: None,
    ) -> None:
        """`heard` is told once that the host said something after the hello: it has got the welcome."""
        self._store = store
        self._peer = peer
        self._welcome = welcome
        self._noticed = noticed
        self._times = times
        self._heard = heard
        self.hears = False
        self._inbox: asyncio.Queue[service_pb2.AttachRequest | None] = asyncio.Queue(INBOX)
        self._ack_due = False
        self._waiting: asyncio.TimerHandle | None = None
        self._failure: SwarmError | None = None
        self._ready = peer.ready = asyncio.Event()  # of this stream: an older one waits on its own

    def end(self, reason: SwarmError) -> None:
        """Ends the stream with an error that the host gets to see."""
        self._failure = self._failure or reason
        self._ready.set()

    async def run(
        self, requests: AsyncIterator[service_pb2.AttachRequest]
    ) -> AsyncGenerator[service_pb2.AttachResponse, None]:
        """All that the host is told: the welcome, what it has not acknowledged, then what comes up."""
        receiving = asyncio.create_task(self._receive(requests))
        working = asyncio.create_task(self._work())
        working.add_done_callback(lambda _: self._ready.set())
        try:
            yield service_pb2.AttachResponse(ack=self._peer.position, welcome=self._welcome)
            for batch in self._peer.outbound.kept():
                yield self._message(batch)
            while not working.done():
                await self._ready.wait()
                self._ready.clear()
                if self._failure is not None:
                    raise self._failure
                for message in self._due():
                    yield message
            working.result()
        finally:
            if self._waiting is not None:
                self._waiting.cancel()
            for task in (receiving, working):
                task.cancel()
            await asyncio.gather(receiving, working, return_exceptions=True)

    def _due(self) -> Iterator[service_pb2.AttachResponse]:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._peer.outbound.choked:
            raise Unavailable("the host acknowledges nothing", reason="host_choked")
        while (batch := self._peer.outbound.next()) is not None:
            yield self._message(batch)
            if self._over():  # while it was sent; the rest is for the stream that took over
                return
        if self._ack_due:
            self._ack_due = False
            yield service_pb2.AttachResponse(ack=self._peer.position)

    def _over(self) -> bool:
        return self._failure is not None

    def _message(self, batch: Batch) -> service_pb2.AttachResponse:
        self._ack_due = False
        return service_pb2.AttachResponse(seq=batch.seq, ack=self._peer.position, events=batch.events)

    async def _receive(self, requests: AsyncIterator[service_pb2.AttachRequest]) -> None:
        """Backpressure: no further message is taken from the transport while the inbox is full."""
        try:
            async for request in requests:
                if not self.hears:
                    self.hears = True
                    self._heard(self._peer)
                if len(request.events) > MOST_EVENTS:
                    raise InvalidInput(f"more than {MOST_EVENTS} events in a message", reason="too_many_events")
                await self._inbox.put(request)
            await self._inbox.put(None)
        except SwarmError as fault:
            self.end(fault)

    async def _work(self) -> None:
        unstored: Sequence[service_pb2.AttachRequest] = ()
        try:
            while (batch := await self._arrived()) is not None:
                unstored = await self._commit([*unstored, *batch])
        except SwarmError as fault:
            self.end(fault)
            raise

    async def _arrived(self) -> Sequence[service_pb2.AttachRequest] | None:
        """Everything that waits, at least one message; None when the host has said all.

        A host renews all the time. One that is silent for a whole TTL is not attached, whatever its connection says:
        work that it lost must not be placed there again.
        """
        first = await self._first()
        if first is None:
            return None
        batch = [first]
        while len(batch) < BATCH_MESSAGES and not self._inbox.empty():
            if (more := self._inbox.get_nowait()) is None:
                self._inbox.put_nowait(None)
                break
            batch.append(more)
        return batch

    async def _first(self) -> service_pb2.AttachRequest | None:
        if not self._inbox.empty():
            return self._inbox.get_nowait()
        try:
            async with asyncio.timeout(self._times.ttl_s):
                return await self._inbox.get()
        except TimeoutError:
            raise Unavailable(f"nothing came for {self._times.ttl_s:g} s", reason="host_silent") from None

    async def _commit(self, requests: Sequence[service_pb2.AttachRequest]) -> Sequence[service_pb2.AttachRequest]:
        """Answers what could not be stored for want of space: to be tried again with what comes next, a renewal say.

        Until then nothing of it is acknowledged, so the host keeps it too.
        """
        peer = self._peer
        peer.outbound.ack(max(request.ack for request in requests))
        numbered = [request for request in requests if request.seq]
        fresh = in_order(peer.position, numbered)
        if fresh:
            report = report_of(peer.host_id, peer.boot_id, fresh, self._times)
            try:
                answers = await self._store.write(lambda tx: report.apply(tx, self._store.now()))
            except DiskFull as fault:
                return await self._renew_only(fresh, fault)
            hit("link_after_commit")
            peer.position = max(peer.position, fresh[-1].seq)
            self._answer(answers)
            for request in fresh:
                self._noticed(peer, request.events)
        self._ack_due = self._ack_due or bool(numbered)
        self._say_soon()
        return ()

    def _answer(self, answers: Sequence[pb.ControlEvent]) -> None:
        for answer in answers:
            self._peer.outbound.put(answer)
        if any(not answer.HasField("renewed") for answer in answers):
            self._ready.set()

    def _say_soon(self) -> None:
        """A host that is given work all the time is told with it what else there is."""
        if self._waiting is None:
            delay = self._times.renew_every_s * PATIENCE
            self._waiting = asyncio.get_running_loop().call_later(delay, self._ready.set)

    async def _renew_only(
        self, requests: Sequence[service_pb2.AttachRequest], fault: DiskFull
    ) -> Sequence[service_pb2.AttachRequest]:
        """Keeps leases alive without the disk; answers the requests without their renewals."""
        if sum(request.ByteSize() for request in requests) > UNSTORED_BYTES:
            raise fault
        for request in requests:
            for event in request.events:
                if event.HasField("renewal"):
                    self._peer.outbound.put(await confirmed(self._store, self._peer.host_id, event.renewal))
        self._ready.set()
        return [without_renewals(request) for request in requests]


def in_order(position: int, requests: Sequence[service_pb2.AttachRequest]) -> list[service_pb2.AttachRequest]:
    """The messages after `position`; a gap is `FailedPrecondition`, and the host resumes with what it has kept."""
    fresh = []
    for request in requests:
        if request.seq <= position:
            continue
        if position and request.seq != position + 1:
            raise FailedPrecondition(f"message {request.seq} came after {position}", reason="sequence_gap")
        position = request.seq
        fresh.append(request)
    return fresh


def without_renewals(request: service_pb2.AttachRequest) -> service_pb2.AttachRequest:
    lasting = [event for event in request.events if not event.HasField("renewal")]
    return service_pb2.AttachRequest(seq=request.seq, ack=request.ack, events=lasting)
