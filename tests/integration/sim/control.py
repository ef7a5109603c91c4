"""The control plane's process: it can be killed and comes back with nothing but its store."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from controlplane.domain.host import HostState
from controlplane.domain.lease import LeaseRef
from controlplane.domain.ticket import BootTiming
from controlplane.errors import StaleFence
from controlplane.ports import Assignment, CommandUpdate, Tx
from controlplane.reconcile.leases import LeaseKeeper
from controlplane.reconcile.outbox import Outbox
from controlplane.scheduler.feed import TOPICS
from controlplane.scheduler.loop import Scheduler
from controlplane.usecases import placement
from controlplane.usecases.placement import AttemptResult, Reconciled, Renewed

if TYPE_CHECKING:
    from tests.integration.sim.host import SimHost
    from tests.integration.sim.world import World

SWEEP_S = 5.0


class SimBus:
    """Collects wake-ups; some get lost, and the sweeps have to do."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.topics: set[str] = set()

    def notify(self, topics: Sequence[str]) -> None:
        if not self.world.chance(self.world.faults.lost_wakeups):
            self.topics.update(topics)

    def subscribe(self, *topics: str) -> Any:
        raise NotImplementedError


class SimFleet:
    """Hands messages to hosts over the world's network, in the session that is open now."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sessions: dict[str, int] = {}

    def connected(self) -> frozenset[str]:
        return frozenset(self.sessions)

    def assign(self, assignments: Sequence[Assignment]) -> None:
        for assignment in assignments:
            ref = LeaseRef(assignment.attempt.id, assignment.ticket.id, assignment.ticket.fence)
            self.issue(ref)
            host = self.world.hosts[assignment.attempt.host_id]
            if host.ident in self.sessions:
                self.world.send(partial(host.assigned, self.sessions[host.ident], ref))

    def issue(self, ref: LeaseRef) -> None:
        fences = self.world.history.issued.setdefault(ref.ticket_id, [])
        if fences and ref.fence < fences[-1]:
            self.world.problem(f"{ref.ticket_id} was issued fence {ref.fence} after {fences[-1]}")
        fences.append(ref.fence)

    def revoke(self, host_id: str, attempt_id: str, ticket_id: str, fence: int, reason: str) -> None:
        if host_id in self.sessions:
            host = self.world.hosts[host_id]
            self.world.send(partial(host.revoked, self.sessions[host_id], attempt_id))

    def answer(self, host_id: str, attempt_id: str, ticket_id: str, fence: int, text: str) -> None:
        raise NotImplementedError

    def cordon(self, host_id: str, *, cordoned: bool) -> None:
        raise NotImplementedError

    def command(self, host_id: str, verb: str, arguments: Mapping[str, Any]) -> AsyncIterator[CommandUpdate]:
        raise NotImplementedError

    def console(self, host_id: str, vm_id: str, keys: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        raise NotImplementedError

    def images(self, host_id: str = "") -> list[Any]:
        raise NotImplementedError

    def templates(self, host_id: str = "") -> list[Any]:
        raise NotImplementedError

    def samples(self, host_id: str, vm_id: str) -> list[Any]:
        raise NotImplementedError


class ControlPlane:
    def __init__(self, world: World) -> None:
        self.world = world
        self.up = False
        self.life = 0
        self.starts: list[float] = []
        self.renewals: dict[str, float] = {}  # attempt -> when it was last renewed
        self._make()

    def _make(self) -> None:
        world = self.world
        self.fleet = SimFleet(world)
        self.scheduler = Scheduler(world.store, world.bus, self.fleet)
        self.leases = LeaseKeeper(world.store, self.fleet)
        self.outbox = Outbox(world.store, world.bus, world.forge, self.fleet)
        self.starts.append(world.now)

    async def start(self) -> None:
        self.up = True
        self.life += 1
        self._make()
        self._sweep(self.life)

    async def restart(self) -> None:
        """SIGKILL, possibly right after a commit, and a new start."""
        if not self.up:
            return
        self.world.note("control plane dies")
        if self.world.random.random() < 0.5:
            self.fleet.sessions.clear()  # leases are committed and nobody is told
            await self.react()
        self.up = False
        self.fleet.sessions.clear()
        self.world.bus.topics.clear()
        for host in self.world.hosts.values():
            if host.connected:
                host.connected = False
                host.session += 1
                self.world.at(self.world.random.uniform(0.5, 5), host.connect)
        self.world.at(self.world.random.choice([1.0, 30.0, 120.0]), self.start)

    def _sweep(self, life: int) -> None:
        async def sweep() -> None:
            if life != self.life or not self.up:
                return
            await self.leases.turn()
            await self._place(("hosts",))
            await self.outbox.turn()
            self._sweep(life)

        self.world.at(SWEEP_S, sweep)

    async def react(self) -> None:
        """What the wake-ups set off, as the loops would do at once."""
        while self.up and (topics := frozenset(self.world.bus.topics)):
            self.world.bus.topics.clear()
            if topics & set(TOPICS):
                await self._place(topics)
            if "outbox" in topics:
                await self.outbox.turn()

    async def _place(self, topics: Collection[str]) -> None:
        if not await self.scheduler.turn(topics):
            return
        leased = await self.world.store.read(lambda reader: reader.leased_tickets())
        for host_id, count in Counter(ticket.host_id for ticket in leased).items():
            if count > self.world.hosts[host_id].vms:
                self.world.problem(f"{host_id} was leased {count} tickets, it holds {self.world.hosts[host_id].vms}")

    # What hosts say

    async def hello(self, host: SimHost, session: int, alive: tuple[LeaseRef, ...], sent_at: float) -> None:
        if not self.up or session != host.session:
            return
        answer = await self.world.store.write(lambda tx: self._hello(tx, host, alive))
        self.fleet.sessions[host.ident] = session
        self.world.note(f"{host.ident} attaches with {[(ref.ticket_id, ref.fence) for ref in alive]}")
        self._renewed(answer.renewed)
        self.world.at(0.01, partial(host.welcomed, session, Renewed(answer.renewed, answer.stale), sent_at))
        self.fleet.assign(answer.redeliver)

    def _hello(self, tx: Tx, host: SimHost, alive: tuple[LeaseRef, ...]) -> Reconciled:
        stored = tx.host(host.ident)
        record = host.record(HostState.ONLINE)
        tx.save_host(record)
        rebooted = stored is None or stored.boot_id != record.boot_id
        return placement.hello(tx, host.ident, alive, self.world.now, rebooted=rebooted)

    async def detached(self, host: SimHost) -> None:
        if self.up and not host.connected:
            self.fleet.sessions.pop(host.ident, None)
            await self.world.store.write(lambda tx: tx.save_host(host.record(HostState.OFFLINE)))

    async def renewal(self, host: SimHost, session: int, refs: tuple[LeaseRef, ...], sent_at: float) -> None:
        if self._current(host, session):
            answer = await self.world.store.write(lambda tx: placement.renew(tx, host.ident, refs, self.world.now))
            self._renewed(answer.renewed)
            self.world.send(partial(host.renewed, session, answer, sent_at))

    def _renewed(self, refs: Sequence[LeaseRef]) -> None:
        self.renewals |= {ref.attempt_id: self.world.now for ref in refs}

    async def report(self, host: SimHost, session: int, verb: str, ref: LeaseRef, result: AttemptResult | None) -> None:
        if not self._current(host, session):
            return
        try:
            await self.world.store.write(lambda tx: self._report(tx, host, verb, ref, result))
        except StaleFence:
            self.world.history.refused += 1
            self.world.note(f"{host.ident}: {verb} of {ref.ticket_id} under fence {ref.fence} is stale")
        else:
            self.world.note(f"{host.ident}: {verb} of {ref.ticket_id} under fence {ref.fence}")
            if result is not None:
                self._accepted(ref, result)
        if result is not None:
            self.world.send(partial(host.acknowledged, session, ref.attempt_id))

    def _report(self, tx: Tx, host: SimHost, verb: str, ref: LeaseRef, result: AttemptResult | None) -> None:
        now = self.world.now
        if result is not None:
            placement.finished(tx, host.ident, ref, now, result)
        elif verb == "started":
            placement.started(tx, host.ident, ref, now, vm_id=f"vm_{ref.attempt_id}", boot=BootTiming())
        else:
            placement.running(tx, host.ident, ref, now, BootTiming())

    def _accepted(self, ref: LeaseRef, result: AttemptResult) -> None:
        newest = self.world.history.issued.get(ref.ticket_id, [0])[-1]
        if ref.fence != newest:
            self.world.problem(f"{ref.ticket_id}: a result of fence {ref.fence} was taken, fence {newest} was out")
        if result.ok:
            self.world.history.accepted.setdefault(ref.ticket_id, []).append(ref.fence)

    def _current(self, host: SimHost, session: int) -> bool:
        return self.up and self.fleet.sessions.get(host.ident) == session
