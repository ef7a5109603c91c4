"""A control plane that a test controls: a real gRPC server on a Unix socket that speaks the host link."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format

from swarm.guest.v1 import guest_pb2
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2, service_pb2_grpc

TOKEN = "host-token-of-the-tests"


@dataclass
class Host:
    """What the control plane knows of one host, by boot id; survives streams."""

    hello: pb.Hello
    seen: int = 0
    sent: int = 0
    unacked: dict[int, list[pb.ControlEvent]] = field(default_factory=dict)
    events: list[pb.HostEvent] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    streams: int = 0
    numbers: list[int] = field(default_factory=list)
    drop: bool = False

    def of(self, kind: str) -> list[Any]:
        return [getattr(event, kind) for event in self.events if event.WhichOneof("event") == kind]


class ControlPlane(service_pb2_grpc.HostLinkServiceServicer):
    """`silent` stops answering renewals; `withhold_acks` keeps acks back; `stale` fences are refused."""

    def __init__(
        self, socket: Path, *, renew_every_ms: int = 100, self_fence_ms: int = 30_000, certificate: Path | None = None
    ) -> None:
        self.certificate = certificate
        self.address = f"unix:{socket}"
        self.socket = socket
        self.renew_every_ms = renew_every_ms
        self.self_fence_ms = self_fence_ms
        self.hosts: dict[str, Host] = {}
        self.bundles: dict[str, bytes] = {}
        self.stale: set[str] = set()
        self.silent = False
        self.withhold_acks = False
        self.repeat = False
        self.console: list[bytes] = []
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._server = grpc.aio.server()
        service_pb2_grpc.add_HostLinkServiceServicer_to_server(self, self._server)
        if self.certificate:
            credentials = grpc.ssl_server_credentials(
                [(self.certificate.with_suffix(".key").read_bytes(), self.certificate.read_bytes())]
            )
            self.address = f"localhost:{self._server.add_secure_port('localhost:0', credentials)}"
        else:
            self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(None)
            self._server = None

    def bundle(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.bundles[digest] = data
        return digest

    # Service

    async def _authenticate(self, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        if metadata.get("authorization") != f"Bearer {TOKEN}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "unknown host token")

    async def Attach(  # noqa: N802
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[service_pb2.AttachResponse]:
        await self._authenticate(context)
        first = await anext(aiter(request_iterator))
        host = self.hosts.setdefault(first.hello.boot_id, Host(first.hello))
        host.hello, host.drop = first.hello, False
        host.streams += 1
        host.numbers.append(first.hello.stream)
        self._acked(host, first.ack)
        reader = asyncio.ensure_future(self._read(host, request_iterator))
        try:
            welcome = pb.Welcome(
                host_id="hs_test",
                lease_ttl_ms=45_000,
                renew_every_ms=self.renew_every_ms,
                self_fence_ms=self.self_fence_ms,
                resume_from=0 if self.withhold_acks else host.seen,
            )
            yield service_pb2.AttachResponse(welcome=welcome)
            told = first.ack
            while not reader.done():
                host.wake.clear()
                if host.drop:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "dropped by the test")
                while told < host.sent:
                    told = seq = told + 1
                    message = service_pb2.AttachResponse(seq=seq, ack=self._ack(host), events=host.unacked.get(seq, []))
                    for _ in range(2 if self.repeat else 1):
                        yield message
                yield service_pb2.AttachResponse(ack=self._ack(host))
                waiter = asyncio.ensure_future(host.wake.wait())
                await asyncio.wait({waiter, reader}, return_when=asyncio.FIRST_COMPLETED)
                waiter.cancel()
        finally:
            reader.cancel()

    def _ack(self, host: Host) -> int:
        return 0 if self.withhold_acks else host.seen

    async def _read(self, host: Host, requests: Any) -> None:
        async for request in requests:
            self._acked(host, request.ack)
            if request.seq:
                host.messages.append(request.seq)
            if request.seq <= host.seen:
                continue
            assert host.seen == 0 or request.seq == host.seen + 1, f"gap: {request.seq} after {host.seen}"
            host.seen = request.seq
            host.events += request.events
            for event in request.events:
                if event.HasField("renewal"):
                    self._renew(host, event.renewal)
            host.wake.set()

    @staticmethod
    def _acked(host: Host, ack: int) -> None:
        for seq in [seq for seq in host.unacked if seq <= ack]:
            del host.unacked[seq]

    def _renew(self, host: Host, renewal: pb.Renewal) -> None:
        if self.silent:
            return
        renewed = pb.Renewed(nonce=renewal.nonce)
        for ref in renewal.attempts:
            (renewed.stale if ref.attempt_id in self.stale else renewed.attempts).append(ref)
        self.send(host, pb.ControlEvent(renewed=renewed))

    async def FetchBundle(  # noqa: N802
        self, request: service_pb2.FetchBundleRequest, context: Any
    ) -> AsyncIterator[service_pb2.FetchBundleResponse]:
        await self._authenticate(context)
        data = self.bundles.get(request.digest)
        if data is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such bundle")
            return
        for start in range(0, len(data), 1 << 20):
            yield service_pb2.FetchBundleResponse(data=data[start : start + (1 << 20)])

    async def Console(  # noqa: N802
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[service_pb2.ConsoleResponse]:
        await self._authenticate(context)
        async for request in request_iterator:
            self.console.append(request.data)
            if request.closed:
                return
            yield service_pb2.ConsoleResponse(data=b"")

    # What a test does

    @staticmethod
    def send(host: Host, *events: pb.ControlEvent) -> None:
        host.sent += 1
        host.unacked[host.sent] = list(events)
        host.wake.set()

    @staticmethod
    async def drop(host: Host) -> None:
        """Break the stream, as a network would, and wait for the next one."""
        streams = host.streams
        host.drop = True
        host.wake.set()
        await until(lambda: host.streams > streams, "the host attaches again")

    def assign(self, host: Host, attempt_id: str, fence: int = 1, **fields: Any) -> pb.AttemptRef:
        ref = pb.AttemptRef(attempt_id=attempt_id, ticket_id="tk_" + attempt_id[3:], fence=fence)
        assignment = pb.Assignment(attempt=ref, ticket_key="TKT-001", title="a ticket", timeout_s=60, number=1)
        json_format.ParseDict(fields, assignment)
        self.send(host, pb.ControlEvent(assignment=assignment))
        return ref

    async def host(self, count: int = 1) -> Host:
        """The newest host, once `count` have attached."""
        await until(lambda: len(self.hosts) >= count, "a host attaches")
        return list(self.hosts.values())[-1]

    async def finished(self, host: Host, count: int = 1) -> list[Any]:
        await until(lambda: len(host.of("finished")) >= count, f"{count} attempts finish")
        return host.of("finished")


def outcome(finished: pb.AttemptFinished) -> guest_pb2.Outcome:
    return guest_pb2.Outcome.FromString(finished.outcome)


def logs(host: Host, attempt_id: str) -> list[str]:
    """Texts of an attempt's log lines, in the order of arrival."""
    texts = []
    for events in host.of("attempt_events"):
        if events.attempt.attempt_id == attempt_id:
            batch = guest_pb2.EventBatch.FromString(events.batch)
            texts += [event.text for event in batch.events if event.type == "log"]
    return texts


async def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Wait for something that another task or process brings about."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  # what it waits for may be another process
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None
