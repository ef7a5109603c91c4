"""The host link: who is attached, and `ports.Fleet` on top of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from controlplane import metrics
from controlplane.api.convert.host import image_in, template_in
from controlplane.api.convert.vm import vm_in
from controlplane.domain.call import Call
from controlplane.domain.host import HostState
from controlplane.domain.image import Image, Template
from controlplane.domain.lease import TIMES, LeaseRef, LeaseTimes
from controlplane.domain.vm import VmSample, VmState
from controlplane.errors import Conflict, NotFound, Unavailable
from controlplane.fleet.admission import Admitted, admit, check_hello, welcome
from controlplane.fleet.arrivals import Arrivals
from controlplane.fleet.commands import Commands
from controlplane.fleet.consoles import Consoles
from controlplane.fleet.outbound import Outbound
from controlplane.fleet.peer import Peer
from controlplane.fleet.session import Session
from controlplane.fleet.wire import assignment_out, ref_out
from controlplane.ports import Assignment, CommandUpdate, Reader, Store, Tx
from controlplane.usecases.assignments import rebuild
from controlplane.usecases.hosts import all_hosts
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2

log = logging.getLogger(__name__)

PIECE_BYTES: Final = 1 << 20
AWAY_S: Final = 15.0  # how long commands outlive the connection that they were given over
MOST: Final = 1000
HELLOS: Final = 16  # admitted at a time


class HostLink:
    """Serves HostLinkService and implements `ports.Fleet`. Lives on one event loop."""

    def __init__(self, store: Store, times: LeaseTimes = TIMES) -> None:
        self._store = store
        self._times = times
        self._peers: dict[str, Peer] = {}
        self._sessions: dict[str, Session] = {}
        self._listening: frozenset[str] | None = None  # None: to be found out
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrivals = Arrivals()
        self._commands = Commands()
        self._consoles = Consoles(self._commands)
        # When all hosts come back at once, renewals of those that are in already find a place between two hellos.
        self._door = asyncio.Semaphore(HELLOS)

    async def open(self) -> None:
        """No host is attached yet, whatever the store says of the time before."""
        await self._store.write(forget_attached)

    # HostLinkService

    async def attach(
        self, call: Call, requests: AsyncIterator[service_pb2.AttachRequest]
    ) -> AsyncGenerator[service_pb2.AttachResponse, None]:
        """One host for as long as its stream lasts; a newer stream of the same host ends an older one."""
        host_id = call.principal.host_id
        first = await anext(requests, None)
        hello = check_hello(call.principal, first)
        self._arrivals.admit(host_id, hello)
        async with self._door:
            admitted = await self._store.write(
                lambda tx: admit(tx, call.principal, hello, self._store.now(), self._times)
            )
        before = self._peers.get(host_id)
        peer = self._peer(admitted, hello, first.ack if first else 0)
        greeting = welcome(admitted, self._times, 1 + len(self._sessions))
        session = Session(self._store, peer, greeting, self._noticed, self._times, heard=self._heard)
        if (older := self._sessions.pop(host_id, None)) is not None:
            older.end(Conflict("a newer connection of this host took over", reason="superseded"))
        self._sessions[host_id] = session
        self._listening = None
        self._redeliver(peer, admitted)
        log.info("host attached", extra={"host": peer.name, "boot": peer.boot_id, "resumed_at": peer.position})
        metrics.HOSTS_CONNECTED.set(len(self._sessions))
        try:
            if before is not None and before is not peer:
                await self._bring_along(peer)
            async for answer in session.run(requests):
                yield answer
        finally:
            await self._detach(session, peer)

    async def fetch_bundle(
        self, call: Call, request: service_pb2.FetchBundleRequest
    ) -> AsyncGenerator[service_pb2.FetchBundleResponse, None]:
        """An agent's bundle in pieces, for a host that has work for it."""
        host_id = call.principal.host_id
        peer = self._peers.get(host_id)
        named = peer is not None and peer.allowed(request.digest)
        data = await self._store.read(lambda reader: bundle(reader, host_id, request.digest, named=named))
        for start in range(0, len(data), PIECE_BYTES):
            yield service_pb2.FetchBundleResponse(data=data[start : start + PIECE_BYTES])

    def serve_console(
        self, call: Call, requests: AsyncIterator[service_pb2.ConsoleRequest]
    ) -> AsyncGenerator[service_pb2.ConsoleResponse, None]:
        return self._consoles.serve(call.principal.host_id, requests)

    # ports.Fleet

    def connected(self) -> frozenset[str]:
        return frozenset(self._sessions)

    def listening(self) -> frozenset[str]:
        """Hosts that answered their welcome. Of a link that is dead in one direction hellos still arrive."""
        if self._listening is None:
            self._listening = frozenset(host_id for host_id, session in self._sessions.items() if session.hears)
        return self._listening

    def assign(self, assignments: Sequence[Assignment]) -> None:
        """Hands committed leases to their hosts. One that is away gets its own when it attaches again."""
        for assignment in assignments:
            if (peer := self._peers.get(assignment.attempt.host_id)) is not None:
                for agent in assignment.work.agents:
                    peer.allow(agent.digest)
                peer.tell(pb.ControlEvent(assignment=assignment_out(assignment)))

    def revoke(self, host_id: str, attempt_id: str, ticket_id: str, fence: int, reason: str) -> None:
        attempt = ref_out(LeaseRef(attempt_id, ticket_id, fence))
        self._tell(host_id, pb.ControlEvent(revoke=pb.Revoke(attempt=attempt, reason=reason)))

    def answer(self, host_id: str, ref: LeaseRef, number: int, text: str) -> None:
        self._tell(host_id, pb.ControlEvent(answer=pb.Answer(attempt=ref_out(ref), number=number, text=text)))

    def cordon(self, host_id: str, *, cordoned: bool) -> None:
        self._tell(host_id, pb.ControlEvent(cordon=pb.Cordon(cordoned=cordoned)))

    def command(self, host_id: str, verb: str, arguments: Mapping[str, Any]) -> AsyncIterator[CommandUpdate]:
        return self._commands.run(self._attached(host_id), verb, arguments)

    def console(self, host_id: str, vm_id: str, keys: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._consoles.open(self._attached(host_id), vm_id, keys)

    def images(self, host_id: str = "") -> list[Image]:
        return [image for peer in self._chosen(host_id) for image in peer.images]

    def templates(self, host_id: str = "") -> list[Template]:
        return [template for peer in self._chosen(host_id) for template in peer.templates]

    def samples(self, host_id: str, vm_id: str) -> list[VmSample]:
        peer = self._peers.get(host_id)
        return peer.samples(vm_id) if peer else []

    # Inside

    def _chosen(self, host_id: str) -> list[Peer]:
        return [self._peers[each] for each in sorted(self._sessions) if host_id in {"", each}]

    def _attached(self, host_id: str) -> Peer:
        if host_id not in self._sessions:
            raise Unavailable("the host is not attached now", reason="host_away")
        return self._peers[host_id]

    def _tell(self, host_id: str, event: pb.ControlEvent) -> None:
        if (peer := self._peers.get(host_id)) is not None:
            peer.tell(event)

    def _peer(self, admitted: Admitted, hello: pb.Hello, acked: int) -> Peer:
        """The peer of this boot id, with what it has not acknowledged; a new one when the host started anew."""
        host = admitted.host
        peer = self._peers.get(host.id)
        if peer is None or peer.boot_id != hello.boot_id:
            self._commands.abandon(host.id)
            peer = self._peers[host.id] = Peer(host.id, host.name, hello.boot_id, Outbound(acked))
        peer.outbound.ack(acked)
        peer.position = admitted.position
        return peer

    def _redeliver(self, peer: Peer, admitted: Admitted) -> None:
        for ref in admitted.reconciled.stale:
            peer.tell(pb.ControlEvent(revoke=pb.Revoke(attempt=ref_out(ref), reason="the lease is over")))
        pending = admitted.reconciled.redeliver
        self.assign([each for each in pending if not peer.outbound.holds(each.attempt.id)])

    async def _bring_along(self, peer: Peer) -> None:
        """What was leased since the host was admitted went to the boot before, which never takes it in."""
        leased = await self._store.read(
            lambda reader: [rebuild(reader, ticket) for ticket in reader.leased_tickets(peer.host_id)]
        )
        self.assign([each for each in leased if each and not peer.outbound.holds(each.attempt.id)])

    async def _detach(self, session: Session, peer: Peer) -> None:
        if self._sessions.get(peer.host_id) is not session:
            return
        del self._sessions[peer.host_id]
        self._listening = None
        metrics.HOSTS_CONNECTED.set(len(self._sessions))
        log.info("host detached", extra={"host": peer.name})
        asyncio.get_running_loop().call_later(AWAY_S, self._give_up, peer)
        await asyncio.shield(self._store.write(lambda tx: mark_away(tx, peer.host_id)))

    def _heard(self, peer: Peer) -> None:
        """Whoever waits for a place learns of the host."""
        self._listening = None
        task = asyncio.create_task(self._store.write(lambda tx: mark_seen(tx, peer.host_id, self._store.now())))
        self._tasks.add(task)
        task.add_done_callback(self._marked)

    def _marked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            log.warning("a host could not be marked as seen: %s", fault)

    def _give_up(self, peer: Peer) -> None:
        if peer.host_id not in self._sessions:
            self._commands.abandon(peer.host_id)

    def _noticed(self, peer: Peer, events: Sequence[pb.HostEvent]) -> None:
        """What is kept in memory only, after the commit that the events were part of."""
        peer.counted.inc(len(events))
        for event in events:
            match event.WhichOneof("event"):
                case "command_update":
                    self._commands.update(peer.host_id, event.command_update)
                case "inventory":
                    peer.images = [image_in(image, peer.host_id) for image in event.inventory.images[:MOST]]
                    peer.templates = [template_in(each, peer.host_id) for each in event.inventory.templates[:MOST]]
                case "vm_report":
                    vms = [vm_in(vm, peer.host_id) for vm in event.vm_report.vms[:MOST]]
                    peer.observe(vms)
                    alive = sum(vm.state is not VmState.STOPPED for vm in vms)
                    metrics.VMS_ACTIVE.labels(peer.name).set(alive)
                case _:
                    pass


def bundle(reader: Reader, host_id: str, digest: str, *, named: bool) -> bytes:
    """The bundle, when an assignment of the host names it; else it is `NotFound`, whether it exists or not."""
    if not named:
        assignments = (rebuild(reader, ticket) for ticket in reader.leased_tickets(host_id))
        named = any(agent.digest == digest for each in assignments if each for agent in each.work.agents)
    data = reader.bundle(digest) if named else None
    if data is None:
        raise NotFound("no work of this host names such a bundle")
    return data


def forget_attached(tx: Tx) -> None:
    """Hosts that were online when the last control plane ended are not attached to this one."""
    for host in all_hosts(tx):
        if host.state is HostState.ONLINE:
            tx.set_host_state(host.id, HostState.OFFLINE)


def mark_away(tx: Tx, host_id: str) -> None:
    """An operator's cordon or drain outlives the connection."""
    host = tx.host(host_id)
    if host is not None and host.state is HostState.ONLINE:
        tx.set_host_state(host_id, HostState.OFFLINE)


def mark_seen(tx: Tx, host_id: str, now: float) -> None:
    host = tx.host(host_id)
    if host is not None:
        tx.save_host(replace(host, last_seen_at=now))
