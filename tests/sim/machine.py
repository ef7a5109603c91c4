"""A machine with a host daemon: the real link, lease keeper and session over the simulated network."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from hostd import messages as m
from hostd.lease import LeaseKeeper
from hostd.link.channel import Endpoint
from hostd.link.client import Backoff, Link
from hostd.ports import Isolation
from hostd.session import Session
from tests.sim.loop import Process
from tests.sim.runner import Kept, Script, SimRunner, script_of

if TYPE_CHECKING:
    from tests.sim.world import World


class Machine:
    """Its disk outlives its daemon, and its VMs do unless the machine itself went down."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.ident = f"hs_{number}"
        self.name = f"host-{number}"
        self.chance = random.Random(f"{world.seed} {self.ident}")
        self.vms = self.chance.choice(world.scenario.vms)
        self.disk: dict[str, Kept] = {}
        self.process: Process | None = None
        self.wall_skew_s = 0.0
        self.boots = 0

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.alive

    @property
    def frozen(self) -> bool:
        return self.process is not None and self.process.held is not None

    def boot(self) -> None:
        if self.up:
            return
        self.boots += 1
        self.process = self.world.process(f"{self.ident}.{self.boots}")
        self.world.history.note("host.boot", host=self.ident, adopts=len(self.disk))
        self.world.loop.spawn(self.process, self._run(f"{self.ident}-{self.boots}"))

    def die(self, *, power: bool) -> None:
        """SIGKILL of the daemon, which its VMs survive without a word to anyone, or the end of the whole machine."""
        if self.process is None or not self.process.alive:
            return
        self.world.history.note("host.die", host=self.ident, power=power)
        self.world.loop.kill(self.process)
        self.world.network.host_died(self.ident, power=power)
        if power:
            self.disk = {key: kept for key, kept in self.disk.items() if kept.finished is not None}

    def freeze(self) -> None:
        if self.process is not None and self.up:
            self.world.history.note("host.freeze", host=self.ident)
            self.world.loop.stop_process(self.process)

    def thaw(self) -> None:
        if self.process is not None and self.frozen:
            self.world.history.note("host.thaw", host=self.ident)
            self.world.loop.continue_process(self.process)

    async def _run(self, boot_id: str) -> None:
        world = self.world
        link = Link(
            Endpoint("unix:simulated", ""),
            backoff=Backoff(rng=self.chance),
            opener=lambda _: world.network.channel(self.ident),
        )
        runner = SimRunner(
            self.ident,
            self.disk,
            world.history,
            uplink=link,
            gate=lambda: keeper.wait_good(),  # noqa: PLW0108  # the keeper is made of the runner
            push=world.forge.push,
            script=self._script,
            wall_ns=self._wall_ns,
            vms=self.vms,
        )
        keeper = LeaseKeeper(runner, link.send, link.reconnect, clock=world.loop.time)
        session = Session(lambda refs: self._hello(boot_id, refs), keeper, runner)
        runner.adopt()
        await asyncio.gather(link.run(session), keeper.run())

    def _hello(self, boot_id: str, attempts: tuple[m.AttemptRef, ...]) -> m.Hello:
        return m.Hello(
            name=self.name,
            version="sim",
            boot_id=boot_id,
            capacity=m.Capacity(self.vms, 0, 0, 0),
            drivers=("sim",),
            isolation=Isolation.SIM,
            labels={},
            warnings=(),
            attempts=attempts,
            images=(),
        )

    def _script(self, assignment: m.Assignment) -> Script:
        return script_of(self.world.seed, assignment.attempt, assignment.title, self.world.scenario.longest_s)

    def _wall_ns(self) -> int:
        return int((self.world.wall() + self.wall_skew_s) * 1e9)
