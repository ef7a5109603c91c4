"""The control plane's process: everything of `controlplane.app` but its sockets. It can be killed anywhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import apsw
import grpc
from google.protobuf.message import Message

from controlplane import failpoint
from controlplane.api.handlers import External, Runtime, all_bindings
from controlplane.api.methods import methods, services
from controlplane.api.pipeline import Dispatcher
from controlplane.api.stages.ratelimit import RateLimit
from controlplane.app import Loops
from controlplane.audit.trail import Trail
from controlplane.backup.archivist import Archivist
from controlplane.domain.call import Call, Principal, Role
from controlplane.domain.cleanup import Retention
from controlplane.domain.lease import TIMES
from controlplane.errors import SwarmError, Unavailable
from controlplane.events.bus import LocalBus
from controlplane.fleet.link import HostLink
from controlplane.ratelimits.window import Window
from controlplane.reconcile.circuits import Circuits
from controlplane.reconcile.cleanup import Cleanup
from controlplane.reconcile.leases import LeaseKeeper
from controlplane.reconcile.outbox import Outbox
from controlplane.scheduler.loop import Scheduler
from controlplane.usecases.claiming import Claims
from controlplane.usecases.services import Services
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2
from tests.fakes.accounts import no_accounts, no_people
from tests.sim.database import SEALS, SimStore
from tests.sim.forge import NoWorkspaces
from tests.sim.loop import KilledError, Process
from tests.sim.network import Connection, End

if TYPE_CHECKING:
    from tests.sim.world import World

METHODS = methods(services())
UNLIMITED = 1 << 40
OPERATOR = Principal("alice", Role.ADMIN)


class SimBus(LocalBus):
    """Some wake-ups get lost, and the sweeps have to do."""

    def __init__(self, seen: Callable[[Sequence[str]], None], loses: Callable[[], bool]) -> None:
        super().__init__()
        self._seen = seen
        self._loses = loses

    def notify(self, topics: Sequence[str]) -> None:
        self._seen(topics)
        if not self._loses():
            super().notify(topics)


class Control:
    """`start` it; `kill` or `doom` it; start it again. Nothing but the database is kept."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.process: Process | None = None
        self.lives = 0
        self.ready = asyncio.Event()
        self._doom = ""
        self._cursor = 0
        failpoint.watch(self._passed)

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.alive and self.world.network.listener is not None

    def start(self) -> None:
        if self.process is not None and self.process.alive:
            return
        self.lives += 1
        self._doom = ""
        self.process = self.world.process(f"control.{self.lives}")
        self.world.loop.spawn(self.process, self._run(self.process))

    def kill(self, why: str) -> None:
        if self.process is None or not self.process.alive:
            return
        self.ready.clear()
        self.world.history.note("control.die", at=why)
        self.world.loop.kill(self.process)
        self.world.network.control_died()
        self.world.control_died()

    def doom(self, place: str) -> None:
        """It dies when it next passes the failpoint."""
        self._doom = place

    def _passed(self, place: str) -> None:
        self.world.passed[place] += 1
        if place == self._doom and self.process is not None:
            self._doom = ""
            self.kill(place)
            raise KilledError

    async def _run(self, process: Process) -> None:
        world = self.world
        bus = SimBus(self._committed, lambda: world.happens(world.faults.lost_wakeup))
        store = SimStore(
            world.database,
            bus,
            world.steady_clock(),
            process=process,
            chance=world.chance if world.scenario.pauses else None,
            fails=lambda: world.happens(world.faults.failed_write),
        )
        self.store, self.link = store, HostLink(store)
        try:
            await store.open()
            await self.link.open()
        except SwarmError as error:  # its supervisor starts it again
            self.kill(error.reason)
            raise KilledError from error
        world.history.note("control.found", **found(world.database.connection))
        link = self.link
        services_ = Services(store, bus, link, world.forge)
        leases = LeaseKeeper(store, link, unstored_at=lambda: store.full_at)
        circuits = Circuits(store, bus)
        scheduler = Scheduler(store, bus, link, listening=link.listening, room=circuits.room)
        cleanup = Cleanup(store, link, leases.turn, retention=Retention())
        claims = Claims(store, bus, scheduler, NoWorkspaces())
        for worker in (leases, Outbox(store, bus, world.forge, link), scheduler, cleanup, circuits, claims):
            await worker.start()
        self.dispatcher = self._pipeline(services_, link, Loops(scheduler, leases, cleanup, circuits, TIMES), claims)
        world.network.listener = self._accept
        self.ready.set()
        # How far its clock is from that of the history.
        world.history.note("control.start", offset=round(store.now() - world.epoch - world.loop.now, 6))

    def _pipeline(self, services_: Services, link: HostLink, loops: Loops, claims: Claims) -> Dispatcher:
        runtime = Runtime(
            started_at=services_.store.now(),
            version="sim",
            connected=link.connected,
            unplaceable=lambda tenant_id: loops.scheduler.status(tenant_id).unplaceable,
            alerts=loops.leases.alerts,
            cleanup=loops.cleanup.everything,
            circuit=loops.circuits.circuit,
            inspect=Trail(self.store, lambda: SEALS, (), every_s=300).inspect,
        )
        external = External(claims, TIMES, lambda attempt_id: f"sim:{attempt_id}")
        limits = dict.fromkeys(("global", "auth", "ai", "lease"), UNLIMITED)
        archivist = Archivist(Path(os.devnull), "sim")
        return Dispatcher(
            METHODS,
            all_bindings(
                link, runtime, archivist, external, no_accounts(self.store), people=no_people(), allow_file=True
            ),
            services_,
            authenticate=lambda _: OPERATOR,
            rate_limit=RateLimit(limits, admin=UNLIMITED, window=Window(self.world.loop.time)),
        )

    # Calls of clients

    def call(self, name: str, request: Message, key: str) -> asyncio.Future[Message]:
        """Begins a call in this process; the future is never done when it dies on the way."""
        if not self.up:
            raise Unavailable("connection refused")
        assert self.process is not None
        answer: asyncio.Future[Message] = self.world.loop.create_future()
        self.world.loop.spawn(self.process, self._answer(answer, name, request, key))
        return answer

    async def _answer(self, answer: asyncio.Future[Message], name: str, request: Message, key: str) -> None:
        metadata = {"x-request-id": f"rq_{self.world.number()}", **({"idempotency-key": key} if key else {})}
        try:
            result = await self.dispatcher.unary(name, request, metadata, "sim")
        except SwarmError as error:
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(result)

    def watch(self, name: str, request: Message, sink: asyncio.Queue[Message | SwarmError]) -> asyncio.Task[Any]:
        """A server stream into a queue, until its task is cancelled."""
        assert self.process is not None
        return self.world.loop.spawn(self.process, self._follow(name, request, sink))

    async def _follow(self, name: str, request: Message, sink: asyncio.Queue[Message | SwarmError]) -> None:
        async def one() -> AsyncGenerator[Message, None]:
            yield request

        try:
            async for answer in self.dispatcher.stream(name, one(), {"x-request-id": f"rq_{self.world.number()}"}, ""):
                sink.put_nowait(answer)
        except SwarmError as error:
            sink.put_nowait(error)

    # Streams of hosts

    def _accept(self, connection: Connection) -> None:
        assert self.process is not None
        task = self.world.loop.spawn(self.process, self._serve(connection))
        connection.up.on_end = task.cancel

    async def _serve(self, connection: Connection) -> None:
        """What gRPC does around a handler."""
        machine = self.world.machines[connection.host_id]
        principal = Principal(f"host:{machine.name}", Role.HOST, host_id=machine.ident)
        call = Call("rq_attach", principal, self.store.now())
        history = self.world.history
        attached = False
        try:
            async with aclosing(self.link.attach(call, self._heard(connection))) as answers:
                async for answer in answers:
                    if answer.HasField("welcome"):
                        attached = True
                        history.note("control.attach", host=machine.ident)
                    self._told(connection, answer)
                    connection.down.send(answer.SerializeToString())
            connection.down.send(End())
        except SwarmError as error:
            connection.down.send(End(grpc.StatusCode[error.code], error.message))
        finally:
            self.world.network.over(connection)
            if attached and machine.ident not in self.link.connected():
                history.note("control.detach", host=machine.ident)

    async def _heard(self, connection: Connection) -> AsyncIterator[service_pb2.AttachRequest]:
        """Renewals as they arrive, for the validators of leases; a hello renews what it names."""
        note, host = self.world.history.note, connection.host_id
        async for request in connection.requests():
            if request.HasField("hello"):
                connection.boot_id = request.hello.boot_id
                note("control.renewal", host=host, hello=True, attempts=_ids(request.hello.attempts))
            for event in request.events:
                if event.HasField("renewal") and event.renewal.attempts:
                    note("control.renewal", host=host, hello=False, attempts=_ids(event.renewal.attempts))
            yield request

    def _told(self, connection: Connection, answer: service_pb2.AttachResponse) -> None:
        note, host = self.world.history.note, connection.host_id
        if answer.ack > connection.acked:
            connection.acked = answer.ack
            note("control.acked", host=host, boot=connection.boot_id, seq=answer.ack)
        for event in answer.events:
            if event.HasField("renewed") and event.renewed.attempts:
                note("control.renewed", host=host, attempts=_ids(event.renewed.attempts))

    # The database, as it changes

    def _committed(self, topics: Sequence[str]) -> None:
        """Every move of a ticket, in the order of the commits."""
        if "tickets" in topics:
            self.note_moves()

    def note_moves(self) -> None:
        """Those that were committed and not yet told, too: their process died in between."""
        rows = self.world.database.connection.execute(
            "SELECT seq, type, data FROM event WHERE topic = 'tickets' AND seq > ? ORDER BY seq", (self._cursor,)
        )
        for seq, kind, data in rows.fetchall():
            self._cursor = cast("int", seq)
            self.world.moved(str(kind), str(data))


def found(connection: apsw.Connection) -> dict[str, Any]:
    """What a life finds of its predecessors' promises: how far hosts' messages were taken in, and which answers."""
    links = connection.execute("SELECT host_id, boot_id, seq FROM link ORDER BY host_id").fetchall()
    answers = connection.execute("SELECT key FROM answer ORDER BY key").fetchall()
    return {"links": {host: [boot, seq] for host, boot, seq in links}, "answers": [key for (key,) in answers]}


def _ids(refs: Sequence[pb.AttemptRef]) -> list[str]:
    return [ref.attempt_id for ref in refs]
