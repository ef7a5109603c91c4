"""A host daemon without VMs: it speaks the real link over a real socket, and does what the test says."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import grpc

from swarm.fleet.v1 import fleet_pb2
from swarm.guest.v1 import guest_pb2
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2
from swarm.hostlink.v1.service_pb2_grpc import HostLinkServiceStub
from swarm.ticket.v1 import ticket_pb2
from swarm.vm.v1 import vm_pb2

Call = grpc.aio.StreamStreamCall[service_pb2.AttachRequest, service_pb2.AttachResponse]
WAIT_S = 60
HEAD = "a" * 40
BASE = "b" * 40


class FakeHost:
    """Numbers, keeps and resends its messages as a real host does. `received` holds all control events."""

    def __init__(self, socket: Path, token: str, name: str = "local") -> None:
        self.channel = grpc.aio.insecure_channel(f"unix:{socket}")
        self.stub = HostLinkServiceStub(self.channel)
        self.metadata = (("authorization", f"Bearer {token}"),)
        self.name = name
        self.boot_id = secrets.token_hex(8)
        self.streams = 0
        self.seq = 0
        self.acked = 0
        self.last_control = 0
        self.kept: dict[int, service_pb2.AttachRequest] = {}
        self.received: list[pb.ControlEvent] = []
        self.attempts: list[pb.AttemptRef] = []
        self.welcome = pb.Welcome()
        self.arrived = asyncio.Condition()
        self.call: Call | None = None
        self.reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.attach()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.detach()
        await self.channel.close()

    async def attach(self, attempts: Iterable[pb.AttemptRef] = ()) -> None:
        """Says hello, waits for the welcome, and sends again what was not processed."""
        call: Call = self.stub.Attach(metadata=self.metadata)
        self.call = call
        self.streams += 1
        await call.write(service_pb2.AttachRequest(ack=self.last_control, hello=self.hello(attempts)))
        first = await call.read()
        assert isinstance(first, service_pb2.AttachResponse)
        self.welcome = first.welcome
        self.take(first)
        # As a real host's first renewal does: it has heard the welcome.
        await call.write(service_pb2.AttachRequest(ack=self.last_control))
        self.kept = {seq: kept for seq, kept in self.kept.items() if seq > self.welcome.resume_from}
        for seq in sorted(self.kept):
            await call.write(self.kept[seq])
        self.reading = asyncio.create_task(self.read(call))

    async def detach(self) -> None:
        """As a broken connection would: nothing is said."""
        if self.call is not None:
            self.call.cancel()
        if self.reading is not None:
            self.reading.cancel()
            await asyncio.gather(self.reading, return_exceptions=True)

    def hello(self, attempts: Iterable[pb.AttemptRef] = ()) -> pb.Hello:
        return pb.Hello(
            name=self.name,
            version="test",
            boot_id=self.boot_id,
            capacity=fleet_pb2.Capacity(vms=8, vcpus=16, memory_mib=65536, disk_mib=65536),
            drivers=["fake"],
            isolation=ticket_pb2.IsolationClass.ISOLATION_CLASS_KVM_QEMU,
            attempts=[*self.attempts, *attempts],
            images=["default"],
            stream=self.streams,
        )

    async def read(self, call: Call) -> None:
        while isinstance(response := await call.read(), service_pb2.AttachResponse):
            async with self.arrived:
                self.take(response)
                self.arrived.notify_all()

    def take(self, response: service_pb2.AttachResponse) -> None:
        self.acked = max(self.acked, response.ack)
        self.kept = {seq: kept for seq, kept in self.kept.items() if seq > response.ack}
        if response.seq > self.last_control:
            assert not self.last_control or response.seq == self.last_control + 1
            self.last_control = response.seq
            self.received += response.events

    async def send(self, *events: pb.HostEvent) -> int:
        """Sends one numbered message; returns its number."""
        self.seq += 1
        message = service_pb2.AttachRequest(seq=self.seq, ack=self.last_control, events=events)
        self.kept[self.seq] = message
        assert self.call is not None
        await self.call.write(message)
        return self.seq

    def keep(self, *events: pb.HostEvent) -> None:
        """Numbers and keeps a message without a stream: it goes out with the next one."""
        self.seq += 1
        self.kept[self.seq] = service_pb2.AttachRequest(seq=self.seq, ack=self.last_control, events=events)

    async def deliver(self, *events: pb.HostEvent) -> None:
        """Sends, and waits until it was committed."""
        seq = await self.send(*events)
        await self.until(lambda: self.acked >= seq)

    async def until(self, condition: object) -> None:
        assert callable(condition)
        async with asyncio.timeout(WAIT_S), self.arrived:
            await self.arrived.wait_for(condition)

    async def expect(self, kind: str, count: int = 1) -> list[pb.ControlEvent]:
        """The control events of one kind, once there are so many."""

        def found() -> list[pb.ControlEvent]:
            return [event for event in self.received if event.WhichOneof("event") == kind]

        await self.until(lambda: len(found()) >= count)
        return found()

    async def assignment(self, number: int = 1) -> pb.Assignment:
        """The so-manieth assignment; the host then holds its attempt."""
        assignment = (await self.expect("assignment", number))[number - 1].assignment
        if assignment.attempt not in self.attempts:
            self.attempts.append(assignment.attempt)
        return assignment

    async def run(self, assignment: pb.Assignment, *, head: str = HEAD) -> None:
        """Plays an attempt that succeeds."""
        ref = assignment.attempt
        await self.send(started(ref), running(ref))
        await self.send(logged(ref, "working"))
        await self.deliver(finished(ref, head=head))
        self.attempts.remove(ref)


def boot() -> ticket_pb2.BootTiming:
    return ticket_pb2.BootTiming(tier=ticket_pb2.BootTier.BOOT_TIER_T1, boot_us=2500, ready_us=40000, agent_us=90000)


def started(ref: pb.AttemptRef, vm_id: str = "vm_1") -> pb.HostEvent:
    return pb.HostEvent(started=pb.AttemptStarted(attempt=ref, vm_id=vm_id, boot=boot()))


def running(ref: pb.AttemptRef) -> pb.HostEvent:
    return pb.HostEvent(running=pb.AttemptRunning(attempt=ref, boot=boot()))


def logged(ref: pb.AttemptRef, *lines: str) -> pb.HostEvent:
    events = [guest_pb2.GuestEvent(seq=seq, type="log", text=line) for seq, line in enumerate(lines, 1)]
    return relayed(ref, guest_pb2.EventBatch(events=events).SerializeToString())


def asked(ref: pb.AttemptRef, question: str) -> pb.HostEvent:
    event = guest_pb2.GuestEvent(seq=1, type="question", text=question)
    return relayed(ref, guest_pb2.EventBatch(events=[event]).SerializeToString())


def answered(ref: pb.AttemptRef, number: int) -> pb.HostEvent:
    return pb.HostEvent(answered=pb.AttemptAnswered(attempt=ref, number=number))


def stopped(ref: pb.AttemptRef) -> pb.HostEvent:
    return pb.HostEvent(stopped=pb.AttemptStopped(attempt=ref))


def relayed(ref: pb.AttemptRef, batch: bytes) -> pb.HostEvent:
    return pb.HostEvent(attempt_events=pb.AttemptEvents(attempt=ref, batch=batch))


def finished(ref: pb.AttemptRef, *, head: str = HEAD, outcome: bytes | None = None, cause: str = "") -> pb.HostEvent:
    done = guest_pb2.Outcome(status="succeeded", head=head).SerializeToString() if outcome is None else outcome
    return pb.HostEvent(
        finished=pb.AttemptFinished(
            attempt=ref, outcome=b"" if cause else done, head=head, base=BASE if head else "", cause=cause
        )
    )


def renewal(nonce: int, *refs: pb.AttemptRef) -> pb.HostEvent:
    return pb.HostEvent(renewal=pb.Renewal(nonce=nonce, attempts=refs))


def vm_report(*vm_ids: str, cpu: float = 1.0) -> pb.HostEvent:
    vms = [
        vm_pb2.Vm(
            id=vm_id,
            host_id="hs_somebody_else",
            state=vm_pb2.VmState.VM_STATE_RUNNING,
            driver="fake",
            image="default",
            last_sample=vm_pb2.VmSample(cpu_seconds=cpu, memory_bytes=1 << 20),
        )
        for vm_id in vm_ids
    ]
    for index, vm in enumerate(vms):
        vm.last_sample.time.FromMilliseconds(1_700_000_000_000 + int(cpu * 1000) + index)
    return pb.HostEvent(vm_report=pb.VmReport(vms=vms))
