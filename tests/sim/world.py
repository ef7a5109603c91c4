"""One seeded run: a fleet, its control plane, clients and faults in virtual time, to its rest and its evidence."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context

import apsw

from controlplane import failpoint
from controlplane.domain import ids
from controlplane.domain.agent import Agent
from controlplane.domain.project import CompleteOn, Project, ProjectSpec
from controlplane.events.bus import LocalBus
from controlplane.ports import Tx
from tests.sim.clients import Clients
from tests.sim.control import Control
from tests.sim.database import Database, SimStore, void_all
from tests.sim.evidence import Evidence, collect
from tests.sim.faults import Torment
from tests.sim.forge import SimForge
from tests.sim.history import History
from tests.sim.loop import Process, VirtualLoop
from tests.sim.machine import Machine
from tests.sim.network import Network
from tests.sim.scenario import Scenario

EPOCH = 1_700_000_000.0
TENANT = "default"
LOOK_S = 5.0
RESTORED_EPOCH = 1
UNSETTLED = (
    "SELECT 1 FROM ticket WHERE state IN ('ready', 'assigned', 'running', 'waiting') LIMIT 1",
    "SELECT 1 FROM effect WHERE next_try IS NOT NULL LIMIT 1",
)


class World:
    def __init__(self, seed: int, scenario: Scenario) -> None:
        self.seed = seed
        self.scenario = scenario
        self.faults = scenario.faults
        self.loop = VirtualLoop()
        self.chance = random.Random(f"{seed} world")
        self.history = History(self.loop.time)
        self.passed: Counter[str] = Counter()
        self.processes: list[Process] = []
        self.epoch = EPOCH
        self.outside = Context()  # that of no process
        self.wall_skew_s = 0.0
        self.faulty = True
        self.rested = False
        self._number = 0
        self.database = Database()
        self.network = Network(self.loop, random.Random(f"{seed} network"), scenario.delay_s)
        self.forge = SimForge(
            self.history,
            random.Random(f"{seed} forge"),
            lambda: self.happens(self.faults.forge_failure),
            scenario.forge_s,
        )
        self.loop.broken = lambda error: self.history.note("product.unforeseen", text=repr(error)[:500])
        self.control = Control(self)
        self.machines = {machine.ident: machine for machine in (Machine(self, n) for n in range(scenario.hosts))}
        self.clients = Clients(self)
        self.torment = Torment(self)

    # Small things that everybody needs

    def process(self, name: str) -> Process:
        process = Process(name)
        self.processes.append(process)
        return process

    def number(self) -> int:
        self._number += 1
        return self._number

    def happens(self, rate: float) -> bool:
        return self.faulty and rate > 0 and self.chance.random() < rate

    def wall(self) -> float:
        """What the control plane's wall clock shows."""
        return EPOCH + self.loop.now + self.wall_skew_s

    def steady_clock(self) -> Callable[[], float]:
        """As the store's own: the wall clock when it begins, and monotonic from there."""
        start = self.wall() - self.loop.now
        return lambda: start + self.loop.now

    def moved(self, kind: str, data: str) -> None:
        """A ticket's event was committed."""
        what = json.loads(data)
        if kind == "ticket.state":
            self.history.note("ticket.move", **what)
            self.clients.moved(what)

    def control_died(self) -> None:
        if self.faulty:
            when = self.loop.now + self.chance.choice([0.5, 5.0, 20.0, 60.0])
            self.loop.call_at(when, self.control.start, context=self.outside)

    def back_up(self) -> apsw.Connection:
        copy = self.database.copy()
        self.control.note_moves()
        self.history.note("world.backup")
        return copy

    def restore(self, backup: apsw.Connection) -> None:
        """The control plane dies with its database, and goes on with the backup in a new epoch."""
        self.control.doom("")
        self.control.kill("its disk is gone")
        self.database.forget_the_dead()
        self.control.note_moves()
        self.database.connection = backup
        void_all(backup, RESTORED_EPOCH, self.wall())
        self.clients.forget()
        self.history.note("world.restored")
        self.control.start()

    # The run

    def run(self) -> Evidence:
        """Answers what the validators judge."""
        with self._seeded():
            try:
                self.loop.run_until_complete(self._run())
                return self.loop.run_until_complete(collect(self))
            finally:
                self.faulty = False
                self.history.close()
                self.loop.bury(self.processes)

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Ids come from the seed, and what the product logs as unforeseen becomes part of the history.

        The loop says when garbage is collected.
        """
        gc.collect()
        gc.freeze()  # what lives on is not looked at again
        gc.disable()
        ids.draw_from(random.Random(f"{self.seed} ids").getrandbits)
        handler = _Unforeseen(self.history)
        loggers = [logging.getLogger(name) for name in ("controlplane", "hostd")]
        before = [(logger.level, logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
            logger.propagate = False
            logger.addHandler(handler)
        try:
            yield
        finally:
            for logger, (level, propagate) in zip(loggers, before, strict=True):
                logger.removeHandler(handler)
                logger.setLevel(level)
                logger.propagate = propagate
            gc.enable()
            failpoint.watch(None)
            ids.draw_from(random.SystemRandom().getrandbits)

    async def _run(self) -> None:
        store = SimStore(self.database, LocalBus(), self.steady_clock())
        await store.open()
        await store.write(self._found)
        self.control.start()
        for machine in self.machines.values():
            self.loop.call_later(self.chance.uniform(0, 2), machine.boot)
        self.clients.start()
        self.torment.start()
        await asyncio.sleep(self.scenario.lasting_s)
        with suppress(TimeoutError):  # it did not come to rest, and the validators say so
            async with asyncio.timeout(2 * self.scenario.settling_s):
                await self.clients.filed()
                self.faulty = False
                await self.torment.heal()
                self.history.note("world.calm")
                self.rested = await self._rest()
                await self.clients.finish()

    async def _rest(self) -> bool:
        deadline = self.loop.now + self.scenario.settling_s
        while self.loop.now < deadline:
            await asyncio.sleep(LOOK_S)
            if self._settled():
                return True
        return False

    def _settled(self) -> bool:
        if any(machine.disk for machine in self.machines.values()) or self.clients.busy:
            return False
        return not any(self.database.connection.execute(query).fetchone() for query in UNSETTLED)

    def _found(self, tx: Tx) -> None:
        now = self.wall()
        for number, complete_on in enumerate(CompleteOn):
            spec = ProjectSpec(
                f"p{number}",
                f"/srv/p{number}.git",
                "main",
                "echo",
                max_concurrency=self.chance.choice(self.scenario.limits),
                complete_on=complete_on,
            )
            tx.add_project(Project(f"pj_{number}", TENANT, spec, now))
        echo = Agent("echo", "1.0.0", "", "default", ("./run",), {}, "0" * 64, built_in=True, published_at=now)
        tx.add_agent(echo, b"")

    def store(self) -> SimStore:
        """A look at the database from outside."""
        return SimStore(self.database, LocalBus(), self.steady_clock())


class _Unforeseen(logging.Handler):
    """An exception that production code caught as a last resort is a finding."""

    def __init__(self, history: History) -> None:
        super().__init__(logging.ERROR)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0]:
            text = f"{record.getMessage()}: {record.exc_info[0].__name__}: {record.exc_info[1]}"
            self._history.note("product.unforeseen", text=text[:500])
