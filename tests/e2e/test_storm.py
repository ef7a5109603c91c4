"""Real processes under random faults: no ticket is done twice (I1), none is lost (I2), watches see it all (I21).

SWARM_LONG=1 makes it eight hosts, 2,000 tickets and ten minutes of faults; SWARM_SEED=n does again what failed.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from swarm_sdk.client import Client
from swarm_sdk.tickets import is_settled
from swarm_sdk.types import TicketSpec
from tests.e2e.harness import ledger, played, tickets, validators
from tests.e2e.harness.chaos import Chaos, Mix
from tests.e2e.harness.deployment import ROOT, Deployment
from tests.e2e.harness.history import History, Recorder
from tests.e2e.harness.waiting import eventually
from tests.extent import either, seed

TTL_S = 4
NAMES = ("local", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
PLAN = {"hosts": NAMES[: either(4, 8)], "max_vms": 16, "control": ("--lease-ttl", str(TTL_S))}
BATCHES, IN_PROCESS, WITH_GIT = either((6, 12, 3), (50, 30, 10))
STORM_S = either(14.0, 600.0)
REST_S = either(180.0, 1800.0)
MIX = Mix(between_s=1.5, down_s=1.5, frozen_s=TTL_S * 1.8)

pytestmark = [pytest.mark.kinds("sim"), pytest.mark.timeout(either(900, 7200))]


def made(dice: random.Random, number: int, project_id: str) -> TicketSpec:
    """A ticket with an agent of its own process and a branch of its own; it outlives its host daemon."""
    script = f"echo begun; sleep {dice.uniform(0.1, 3):.1f}; echo {number} > {number}.txt"
    return tickets.shell(script, title=f"Made {number}", project_id=project_id)


class Storm:
    """Files tickets while faults happen, then waits for rest."""

    def __init__(self, deployment: Deployment, client: Client, seed: int) -> None:
        self.seed = seed
        self.history = History()
        self.recorder = Recorder(client, self.history)
        self.upstream = deployment.upstream(f"storm{seed}", {"README.md": "storm\n"})
        self._deployment = deployment
        self._client = client
        self._dice = random.Random(seed)

    async def run(self) -> list[str]:
        """What the validators say."""
        await played.publish(self._client)
        project = await tickets.project(self._client, self.upstream)
        chaos = asyncio.create_task(Chaos(self._deployment, self.history, self.seed, MIX).run())
        try:
            filed = await self._file(project.id)
        finally:
            chaos.cancel()
            with suppress(asyncio.CancelledError):
                await chaos
        await self._deployment.until_served()
        for name in self._deployment.hosts:
            await self._deployment.until_online(name)
        await eventually(lambda: self._at_rest(filed), "all tickets come to rest", patience_s=REST_S)
        await self.recorder.close()
        stored = ledger.read(self._deployment.state / "controlplane.db")
        return validators.check(self.history, stored, {project.id: self.upstream.branches()})

    async def _file(self, project_id: str) -> list[str]:
        filed = []
        for batch in range(BATCHES):
            specs = [
                played.ticket(f"Played {number}", run_for_ms=self._dice.choice([200, 1500, 8000]), logs=2)
                for number in range(IN_PROCESS)
            ]
            specs += [made(self._dice, batch * WITH_GIT + number, project_id) for number in range(WITH_GIT)]
            filed += [ticket.id for ticket in await self.recorder.create(specs, watch=batch < 10)]
            await asyncio.sleep(STORM_S / BATCHES)
        return filed

    async def _at_rest(self, filed: list[str]) -> bool:
        return all(is_settled(ticket) for ticket in await self.recorder.listed(filed))


async def test_a_storm_loses_and_doubles_nothing(deployment: Deployment, client: Client) -> None:
    storm = Storm(deployment, client, seed())
    problems = await storm.run()
    kept = storm.history.save(ROOT / f".cache/histories/storm-{storm.seed}.jsonl") if problems else None

    assert not problems, f"SWARM_SEED={storm.seed}, history in {kept}:\n" + "\n".join(problems[:20])
    faults = [op.kind for op in storm.history.ops if op.kind in {"frozen", "killed"}]
    assert len(faults) >= 3, f"SWARM_SEED={storm.seed}: the faults do not bite"
