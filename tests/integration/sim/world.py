"""A whole fleet in one process: virtual time, a seeded network that loses, repeats and reorders, and hosts that die.

Real are the store (SQLite in memory), the scheduler, the leases, the placement use cases and the outbox.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from controlplane.domain.agent import Agent
from controlplane.domain.host import HostState
from controlplane.domain.project import CompleteOn, Project, ProjectSpec
from controlplane.domain.ticket import Ticket, TicketSpec, TicketState, TicketType
from controlplane.domain.transitions import Action, advance, allows
from controlplane.ports import Tx
from controlplane.stores.sqlite import SqliteStore
from controlplane.usecases.moves import blocked_by, commit_steps
from tests.integration.sim.control import ControlPlane, SimBus
from tests.integration.sim.forge import SimForge
from tests.integration.sim.host import SimHost

START = 1_700_000_000.0
TENANT = "default"
CHECK_S = 20.0
Act = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Faults:
    """How hostile a run is. Rates are per message, intervals are mean virtual seconds between faults of one kind."""

    loss: float = 0.05
    repeat: float = 0.05
    delay_s: float = 0.5
    lost_wakeups: float = 0.05
    host_death_s: float = 150.0
    freeze_s: float = 100.0
    disconnect_s: float = 80.0
    restart_s: float = 120.0
    meddling_s: float = 100.0
    lasting_s: float = 400.0  # after that the faults stop


@dataclass(slots=True)
class History:
    """What an observer outside saw; the checks compare it with the database."""

    issued: dict[str, list[int]] = field(default_factory=dict)  # ticket -> fences of assignments, in order
    accepted: dict[str, list[int]] = field(default_factory=dict)  # ticket -> fences of accepted successes
    refused: int = 0
    problems: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


class World:
    def __init__(self, seed: int, faults: Faults, *, hosts: int, tickets: int) -> None:
        self.random = random.Random(seed)
        self.faults = faults
        self.now = START
        self.history = History()
        self.bus = SimBus(self)
        self.store = SqliteStore(":memory:", self.bus, inline=True, clock=lambda: self.now)
        self.forge = SimForge(self)
        self.hosts = {f"hs_{number}": SimHost(self, f"hs_{number}") for number in range(hosts)}
        self.control = ControlPlane(self)
        self.wanted = tickets
        self.keys: dict[str, str] = {}
        self._events: list[tuple[float, int, Act]] = []
        self._count = 0

    # Time and network

    def at(self, delay: float, act: Act) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + delay, self._count, act))

    def note(self, text: str) -> None:
        self.history.log.append(f"{self.now - START:9.3f} {text}")

    def problem(self, text: str) -> None:
        self.note(f"PROBLEM {text}")
        self.history.problems.append(text)

    @property
    def faulty(self) -> bool:
        return self.now < START + self.faults.lasting_s

    def chance(self, rate: float) -> bool:
        return self.faulty and self.random.random() < rate

    def send(self, act: Act) -> None:
        """One message: lost, repeated and overtaken by others as the network pleases."""
        if self.chance(self.faults.loss):
            return
        for _ in range(1 + self.chance(self.faults.repeat)):
            self.at(self.random.uniform(0.001, self.faults.delay_s), act)

    async def run(self, until: float, *, done: Callable[[], Awaitable[bool]]) -> bool:
        """Plays events up to `until` seconds of virtual time; answers whether it is `done` before."""
        checked = self.now
        while self._events and self._events[0][0] <= START + until:
            self.now, _, act = heapq.heappop(self._events)
            await act()
            await self.control.react()
            if self.now >= checked + CHECK_S:
                checked = self.now
                if await done():
                    return True
        return False

    # Beginning

    async def begin(self) -> None:
        await self.store.open()
        await self.store.write(self._found)
        await self.control.start()
        for host in self.hosts.values():
            self.at(self.random.uniform(0, 2), host.boot)
        self.at(0, self._file)
        for mean, act in (
            (self.faults.host_death_s, self._kill_host),
            (self.faults.freeze_s, self._freeze_host),
            (self.faults.disconnect_s, self._disconnect_host),
            (self.faults.restart_s, self.control.restart),
            (self.faults.meddling_s, self._meddle),
        ):
            self._repeat(mean, act)

    def _repeat(self, mean: float, act: Act) -> None:
        async def again() -> None:
            if self.faulty:
                await act()
                self._repeat(mean, act)

        self.at(self.random.expovariate(1 / mean), again)

    def _found(self, tx: Tx) -> None:
        for number in range(2):
            most = self.random.choice([0, 0, 2])
            complete_on = self.random.choice(list(CompleteOn))
            spec = ProjectSpec(
                f"p{number}", f"/srv/p{number}.git", "main", "echo", max_concurrency=most, complete_on=complete_on
            )
            tx.add_project(Project(f"pj_{number}", TENANT, spec, self.now))
        echo = Agent("echo", "1", "", "default", ("./run",), {}, "0" * 64, built_in=True, published_at=self.now)
        tx.add_agent(echo, b"")
        for host in self.hosts.values():
            tx.save_host(host.record(HostState.OFFLINE))

    async def _file(self) -> None:
        await self.store.write(self._tickets)

    def _tickets(self, tx: Tx) -> None:
        specs = [TicketSpec("epic", TicketType.EPIC, project_id="pj_0")]
        for number in range(1, self.wanted + 1):
            earlier = [f"tk_{other}" for other in range(1, number)]
            needs = self.random.sample(earlier, min(len(earlier), self.random.choice([0, 0, 1, 1, 2])))
            specs.append(
                TicketSpec(
                    f"ticket {number}",
                    priority=self.random.randrange(3),
                    project_id=f"pj_{self.random.randrange(2)}",
                    parent_id="tk_0" if self.random.random() < 0.7 else "",
                    depends_on=tuple(sorted(needs)),
                )
            )
        first = tx.next_ticket_number(TENANT, len(specs))
        tickets = [
            Ticket(f"tk_{n}", f"TKT-{first + n:03d}", TENANT, spec, TicketState.PENDING, self.now, self.now)
            for n, spec in enumerate(specs)
        ]
        self.keys = {ticket.id: ticket.key for ticket in tickets}
        tx.add_tickets(tickets)
        release = [
            advance(one, Action.RELEASE, self.now, blocked_by=blocked_by(tx, one.spec.depends_on))
            for one in tickets[1:]
        ]
        commit_steps(tx, release, self.now)

    # Faults and meddling

    def _any_host(self) -> SimHost:
        return self.random.choice(list(self.hosts.values()))

    async def _kill_host(self) -> None:
        await self._any_host().die()

    async def _freeze_host(self) -> None:
        await self._any_host().freeze(self.random.choice([3.0, 20.0, 50.0, 90.0]))

    async def _disconnect_host(self) -> None:
        await self._any_host().disconnect(self.random.choice([0.5, 10.0, 40.0, 100.0]))

    async def _meddle(self) -> None:
        """A person cancels something now and then."""
        ident = f"tk_{self.random.randrange(1, self.wanted + 1)}"
        await self.store.write(lambda tx: self._cancel(tx, ident))

    def _cancel(self, tx: Tx, ident: str) -> None:
        found = tx.tickets_by_id([ident])
        if found and allows(found[0], Action.CANCEL):
            self.note(f"cancel {ident}")
            commit_steps(tx, [advance(found[0], Action.CANCEL, self.now, reason="a person")], self.now)
