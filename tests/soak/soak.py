"""One long run: waves of tickets, faults all the while, samples, and in the end nothing but what was there before."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from swarm_sdk.client import Client
from swarm_sdk.errors import SwarmError
from swarm_sdk.tickets import is_settled
from tests.e2e.harness import ledger, played, tickets, validators
from tests.e2e.harness.chaos import Chaos, Mix
from tests.e2e.harness.deployment import LOCAL, Deployment, Plan
from tests.e2e.harness.history import History, Recorder
from tests.e2e.harness.upstream import Upstream
from tests.e2e.harness.waiting import eventually
from tests.soak import samples
from tests.soak.load import LABEL, Wave
from tests.soak.samples import Sample

REAL = "real"
SETTLE_S = 1.0
PATIENCE_S = 600.0
CLEAN_S = 30.0
WATCHED_WAVES = 5


@dataclass(frozen=True, slots=True)
class Settings:
    """`out` gets one JSON object per line: settings, samples, faults, waves, the result."""

    seconds: float
    seed: int
    out: Path
    real: bool = True
    wave: Wave = field(default_factory=Wave)
    every_s: float = 3.0
    ttl_s: int = 9

    @property
    def waves(self) -> Wave:
        return self.wave if self.real else replace(self.wave, real=0)

    @property
    def plan(self) -> Plan:
        names = (LOCAL, "second", "third", *((REAL,) if self.real else ()))
        return Plan(
            kind="sim",
            hosts=names,
            max_vms=16,
            control=("--lease-ttl", str(self.ttl_s)),
            kinds={REAL: "real"},
            each={name: ("--label", f"{LABEL}={REAL if name == REAL else 'sim'}") for name in names},
        )

    def phases(self) -> Iterator[tuple[float, tuple[str, ...], Mix]]:
        """Seconds, hosts to hurt, and how: everybody in the middle; else some, so that the others grow old."""
        mild = Mix(between_s=4.0, frozen_s=self.ttl_s * 1.5, kill_vm=1.0, kill_control=0.0)
        wild = Mix(between_s=4.0, frozen_s=self.ttl_s * 1.5, kill_vm=1.0, kill_control=0.5)
        third = self.seconds / 3
        yield third, ("third",), mild
        yield third, self.plan.hosts, wild
        yield third, ("third",), mild


@dataclass(frozen=True, slots=True)
class Result:
    """`problems` is empty when all went well; `left` is what was still there in the end."""

    tickets: int
    states: dict[str, int]
    faults: dict[str, int]
    samples: list[Sample]
    left: dict[str, list[str]]
    problems: list[str]


class Soak:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dice = random.Random(settings.seed)
        self._history = History()
        self._samples: list[Sample] = []
        self._began = time.monotonic()

    async def run(self) -> Result:
        self._settings.out.parent.mkdir(parents=True, exist_ok=True)
        deployment = Deployment(self._settings.plan)
        with self._settings.out.open("w", encoding="utf-8") as out:
            self._say(out, "settings", settings={key: str(value) for key, value in asdict(self._settings).items()})
            await deployment.open()
            try:
                result = await self._live(deployment, out)
            finally:
                deployment.close()
            result.left.update(await _left(deployment))
            self._say(out, "result", result={key: value for key, value in asdict(result).items() if key != "samples"})
        return result

    async def _live(self, deployment: Deployment, out: TextIO) -> Result:
        async with deployment.client() as client:
            recorder = Recorder(client, self._history)
            upstream = deployment.upstream("soak", {"README.md": "soak\n"})
            project = await tickets.project(client, upstream, done_when="opened")
            await played.publish(client)
            self._began = time.monotonic()  # processes are slow to start; the load has all the time
            async with self._sampled(deployment, out), self._hurt(deployment):
                await self._load(deployment, recorder, project.id, out)
            await _whole(deployment)
            await self._rest(deployment, recorder, out)
            await recorder.close()
            await _drain(client, deployment)
        return self._result(deployment, project.id, upstream)

    @asynccontextmanager
    async def _sampled(self, deployment: Deployment, out: TextIO) -> AsyncIterator[None]:
        """Samples every few seconds."""

        async def sample() -> None:
            while True:
                self._sample(deployment, out, rest=False)
                self._say(out, "inventory", **await asyncio.to_thread(samples.counts, deployment))
                await asyncio.sleep(self._settings.every_s)

        async with _background(sample()):
            yield

    @asynccontextmanager
    async def _hurt(self, deployment: Deployment) -> AsyncIterator[None]:
        """Faults, phase after phase."""

        async def hurt() -> None:
            for number, (seconds, hosts, mix) in enumerate(self._settings.phases()):
                chaos = Chaos(deployment, self._history, self._settings.seed + number, mix, hosts)
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await chaos.run()

        async with _background(hurt()):
            yield

    async def _load(self, deployment: Deployment, recorder: Recorder, project_id: str, out: TextIO) -> None:
        """Wave after wave; a sample at rest after each."""
        for number in itertools.count():
            if time.monotonic() - self._began > self._settings.seconds:
                return
            specs = list(self._settings.waves.specs(self._dice, number, project_id))
            await recorder.create(specs, watch=number < WATCHED_WAVES)
            await self._rest(deployment, recorder, out)
            self._say(out, "wave", number=number, tickets=len(specs))

    async def _rest(self, deployment: Deployment, recorder: Recorder, out: TextIO) -> None:
        idents = [op.subject for op in self._history.of("accepted")]

        async def at_rest() -> bool:
            return all(is_settled(ticket) for ticket in await recorder.listed(idents))

        await eventually(at_rest, "all tickets come to rest", patience_s=PATIENCE_S)
        await asyncio.sleep(SETTLE_S)
        self._sample(deployment, out, rest=True)

    def _sample(self, deployment: Deployment, out: TextIO, *, rest: bool) -> None:
        taken = samples.take(deployment, time.monotonic() - self._began, rest=rest)
        self._samples += taken
        for sample in taken:
            self._say(out, "sample", **asdict(sample))

    def _say(self, out: TextIO, kind: str, **data: Any) -> None:
        out.write(json.dumps({"kind": kind, "t": round(time.monotonic() - self._began, 2), **data}) + "\n")
        out.flush()

    def _result(self, deployment: Deployment, project_id: str, upstream: Upstream) -> Result:
        stored = ledger.read(deployment.state / "controlplane.db")
        states = [ticket.state for ticket in stored.tickets]
        faults = [op.kind for op in self._history.ops if op.kind in {"frozen", "killed", "killed_vm"}]
        return Result(
            tickets=len(states),
            states={state: states.count(state) for state in sorted(set(states))},
            faults={kind: faults.count(kind) for kind in sorted(set(faults))},
            samples=self._samples,
            left={},
            problems=validators.check(self._history, stored, {project_id: upstream.branches()}),
        )


@asynccontextmanager
async def _background(work: Any) -> AsyncIterator[None]:
    """Runs beside a block and is ended after it; its failure fails the block's end."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _whole(deployment: Deployment) -> None:
    await deployment.until_served()
    for name in deployment.hosts:
        await deployment.until_online(name)


async def _drain(client: Client, deployment: Deployment) -> None:
    """Hosts take nothing more, and remove what nothing needs."""
    for name in deployment.hosts:
        await client.hosts.drain(name)
    with suppress(SwarmError):
        await client.coordinator.cleanup()


async def _left(deployment: Deployment) -> dict[str, list[str]]:
    """What the deployment has on the machine although it ended; the kernel gets a moment."""

    async def nothing() -> bool:
        return not await asyncio.to_thread(deployment.left)

    with suppress(AssertionError):
        await eventually(nothing, "nothing is left", patience_s=CLEAN_S)
    return {kind: sorted(items) for kind, items in deployment.left().items()}
