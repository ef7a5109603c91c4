"""A host daemon as the control plane sees one: attempts, renewals, self-fencing, crashes, adoption."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from controlplane.domain.host import Capacity, Host, HostState
from controlplane.domain.lease import TIMES, LeaseRef
from controlplane.domain.ticket import Isolation
from controlplane.usecases.placement import AttemptResult, Renewed

if TYPE_CHECKING:
    from tests.integration.sim.world import World


@dataclass(slots=True)
class Work:
    """One attempt on a host: VM work left in seconds, and the result once there is one, until it is acknowledged."""

    ref: LeaseRef
    left: float
    result: AttemptResult | None = None
    announced: bool = False


class SimHost:
    def __init__(self, world: World, ident: str) -> None:
        self.world = world
        self.ident = ident
        self.vms = world.random.choice([1, 2, 3])
        self.boots = 0
        self.session = 0  # messages of an earlier connection never arrive
        self.connected = False
        self.frozen_until = 0.0
        self.dead = True
        self.works: dict[str, Work] = {}
        self.renewed_at = 0.0
        # The link numbers what the control plane says, so that a repeated message is taken once.
        self.taken: set[tuple[int, LeaseRef]] = set()

    def record(self, state: HostState) -> Host:
        boot_id = f"{self.ident}-{self.boots}"
        now = self.world.now
        return Host(self.ident, self.ident, state, Isolation.SIM, Capacity(self.vms), boot_id=boot_id, last_seen_at=now)

    @property
    def frozen(self) -> bool:
        return self.world.now < self.frozen_until

    @property
    def fenced(self) -> bool:
        """No renewal succeeded for so long that the VMs are paused."""
        return self.world.now >= self.renewed_at + TIMES.self_fence_s

    def works_on(self, ticket_id: str) -> bool:
        """Whether a VM of this host makes progress on the ticket this very moment."""
        live = not self.dead and not self.frozen and not self.fenced
        return live and any(w.ref.ticket_id == ticket_id and w.result is None for w in self.works.values())

    # Life

    async def boot(self) -> None:
        self.boots += 1
        self.dead = False
        self.renewed_at = self.world.now
        if self.world.random.random() < 0.5:
            self.works.clear()  # else its VMs and unsent results are adopted
        await self.connect()
        self._tick(self.boots)

    async def die(self) -> None:
        if not self.dead:
            self.world.note(f"{self.ident} dies")
            self.dead = True
            self._drop()
            self.world.at(self.world.random.uniform(1, 120), self.boot)

    async def freeze(self, seconds: float) -> None:
        self.world.note(f"{self.ident} freezes for {seconds}")
        self.frozen_until = max(self.frozen_until, self.world.now + seconds)

    async def disconnect(self, seconds: float) -> None:
        if self.connected:
            self.world.note(f"{self.ident} cut off for {seconds}")
            self._drop()
            self.world.at(seconds, self.connect)

    def _drop(self) -> None:
        if self.connected:
            self.connected = False
            self.session += 1
            self.world.at(0, partial(self.world.control.detached, self))

    async def connect(self) -> None:
        if self.dead or self.connected:
            return
        if self.frozen or not self.world.control.up:
            self.world.at(1.0, self.connect)
            return
        self.connected = True
        self.session += 1
        self.world.at(0.01, partial(self.world.control.hello, self, self.session, tuple(self._refs()), self.world.now))

    def _refs(self) -> list[LeaseRef]:
        return [work.ref for work in self.works.values()]

    # What the control plane says

    async def welcomed(self, session: int, answer: Renewed, sent_at: float) -> None:
        await self.renewed(session, answer, sent_at)

    async def assigned(self, session: int, ref: LeaseRef) -> None:
        if self._deaf(session) or ref.attempt_id in self.works or (session, ref) in self.taken:
            return
        self.taken.add((session, ref))
        self.world.note(f"{self.ident} takes {ref.ticket_id} under fence {ref.fence}")
        others = [one.ident for one in self.world.hosts.values() if one is not self and one.works_on(ref.ticket_id)]
        if others:
            self.world.problem(f"{ref.ticket_id} starts on {self.ident} while {others} work on it")
        # Some work outlasts a lease, so that two hosts would meet on it if leases did not keep them apart.
        longest = self.world.random.choice([30, 60, 200])
        self.works[ref.attempt_id] = Work(ref, self.world.random.uniform(2, longest))
        self._send("started", ref)

    async def revoked(self, session: int, attempt_id: str) -> None:
        if not self._deaf(session):
            self.works.pop(attempt_id, None)

    async def renewed(self, session: int, answer: Renewed, sent_at: float) -> None:
        if self._deaf(session):
            return
        self.renewed_at = max(self.renewed_at, sent_at)
        for ref in answer.stale:
            self.works.pop(ref.attempt_id, None)

    async def acknowledged(self, session: int, attempt_id: str) -> None:
        if not self._deaf(session):
            self.works.pop(attempt_id, None)

    def _deaf(self, session: int) -> bool:
        return self.dead or self.frozen or session != self.session

    # What it does by itself

    def _tick(self, boot: int, *, thawed: bool = False) -> None:
        async def tick() -> None:
            if self.dead or boot != self.boots:
                return
            if not self.frozen:
                # A process that was stopped goes on where it was: its first act may be to report, not to look at
                # the clock and fence itself.
                zombie = thawed and self.world.random.random() < 0.5
                self._work(TIMES.renew_every_s, fenced=self.fenced and not zombie)
                self._renew()
            self._tick(boot, thawed=self.frozen)

        self.world.at(TIMES.renew_every_s * self.world.random.uniform(0.8, 1.2), tick)

    def _work(self, seconds: float, *, fenced: bool) -> None:
        for work in self.works.values():
            if work.result is None and not fenced:
                self._progress(work, seconds)
            if work.result is not None:
                # Repeated until it is acknowledged, as a reliable link does.
                self._send("finished", work.ref, work.result)

    def _progress(self, work: Work, seconds: float) -> None:
        if not work.announced:
            work.announced = True
            self._send("running", work.ref)
        work.left -= seconds
        if work.left <= 0:
            work.result = self._outcome(work.ref)

    def _outcome(self, ref: LeaseRef) -> AttemptResult:
        dice = self.world.random.random()
        if dice < 0.08:
            return AttemptResult(ok=False, phase="agent", exit_code=1, reason="exit status 1")
        if dice < 0.16:
            return AttemptResult(ok=False, cause="vm_lost", reason="the VMM ended")
        if dice < 0.24:
            return AttemptResult(ok=True)
        return AttemptResult(ok=True, head=self.world.forge.push(ref.ticket_id, ref.fence), base="b" * 40)

    def _renew(self) -> None:
        if self.connected:
            refs, sent_at, session = tuple(self._refs()), self.world.now, self.session
            self.world.send(partial(self.world.control.renewal, self, session, refs, sent_at))

    def _send(self, verb: str, ref: LeaseRef, result: AttemptResult | None = None) -> None:
        if self.connected:
            self.world.send(partial(self.world.control.report, self, self.session, verb, ref, result))
