"""What goes wrong, and when: each kind of fault at random times of its own, until the run heals."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.sim.machine import Machine

if TYPE_CHECKING:
    from tests.sim.world import World

PLACES = (
    "store_before_commit",
    "store_after_commit",
    "assigned_before_deliver",
    "link_after_commit",
    "finished_before_commit",
    "published_before_recorded",
    "after_commit_before_reply",
)
HOUR_S = 3600.0


class Torment:
    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = random.Random(f"{world.seed} faults")

    def start(self) -> None:
        faults = self.world.faults
        for mean, act in (
            (faults.host_death_s, self._kill_host),
            (faults.freeze_s, self._freeze_host),
            (faults.network_s, self._network),
            (faults.control_death_s, self._kill_control),
            (faults.clock_step_s, self._step_clock),
        ):
            if mean:
                self._again(mean, act)
        if self.world.scenario.restores:
            self.world.loop.call_later(self.chance.uniform(15, 50), self._back_up)

    def _again(self, mean: float, act: Callable[[], None]) -> None:
        def happen() -> None:
            if self.world.faulty:
                act()
                self._again(mean, act)

        self.world.loop.call_later(self.chance.expovariate(1 / mean), happen)

    def _any(self) -> Machine:
        return self.chance.choice(list(self.world.machines.values()))

    def _kill_host(self) -> None:
        machine = self._any()
        machine.die(power=self.chance.random() < 0.4)
        self.world.loop.call_later(self.chance.choice([0.5, 5.0, 30.0, 90.0]), machine.boot)

    def _freeze_host(self) -> None:
        machine = self._any()
        machine.freeze()
        self.world.loop.call_later(self.chance.choice([2.0, 20.0, 50.0, 100.0]), machine.thaw)

    def _network(self) -> None:
        """One host, or half of the fleet at once."""
        machines = list(self.world.machines.values())
        count = 1 if self.chance.random() < 0.8 else max(1, len(machines) // 2)
        kind = self.chance.choice(["stall", "slow", "cut", "cut", "silence"])
        seconds = self.chance.choice([1.0, 10.0, 35.0, 80.0])
        hit = self.chance.sample(machines, count)
        self.world.history.note("network.fault", kind=kind, s=seconds, hosts=[machine.ident for machine in hit])
        network = self.world.network
        for machine in hit:
            match kind:
                case "stall":
                    network.stall(machine.ident, seconds)
                case "slow":
                    network.slow(machine.ident, seconds, self.chance.uniform(1.0, 8.0))
                case "cut":
                    network.cut(machine.ident)
                case _:
                    network.silence(machine.ident)

    def _kill_control(self) -> None:
        """At some await, or exactly where it hurts."""
        if self.chance.random() < 0.4:
            self.world.control.kill("random")
        else:
            self.world.control.doom(self.chance.choice(PLACES))

    def _back_up(self) -> None:
        """Under load, and soon the database is lost."""
        made = self.world.back_up()
        self.world.loop.call_later(self.chance.choice([0.5, 5.0, 15.0, 30.0]), self.world.restore, made)

    def _step_clock(self) -> None:
        step = self.chance.choice([-HOUR_S, HOUR_S])
        if self.chance.random() < 0.5:
            self.world.wall_skew_s = step
            self.world.history.note("clock.step", of="control", by=step)
        else:
            machine = self._any()
            machine.wall_skew_s = step
            self.world.history.note("clock.step", of=machine.ident, by=step)

    async def heal(self) -> None:
        """Everything is up and reachable again."""
        world = self.world
        world.network.heal()
        for machine in world.machines.values():
            machine.thaw()
            machine.boot()
        world.control.doom("")
        world.control.start()
        await world.control.ready.wait()
