"""Stands for hostd's runner: attempts that take virtual time and follow a script instead of running VMs.

It keeps what the real one keeps: paused until the lease is known to be good, nothing pushed through a closed gate,
results repeated until they are acknowledged, and a journal from which a new daemon adopts what its VMs still run.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from hostd import messages as m
from hostd.errors import HostFullError
from hostd.ports import BootTiming, Tier
from hostd.runner.vacancy import Vacancy
from swarm.guest.v1 import guest_pb2
from tests.sim.history import History

BASE = "b" * 40
QUESTION_PATIENCE_S = 150.0
VACANCY_S = 10.0


@dataclass(frozen=True, slots=True)
class Script:
    """What a guest does: seconds of work, and then its end."""

    boot_s: float
    work_s: float
    asks: bool = False
    changes: bool = True
    phase: str = ""  # that failed
    cause: str = ""  # for which the host ends it


def script_of(seed: int, ref: m.AttemptRef, title: str, longest_s: float) -> Script:
    chance = random.Random(f"{seed} {ref.attempt_id}")
    boot, work = chance.uniform(0.01, 2.0), chance.uniform(1.0, chance.choice([0.2, 0.4, 1.0]) * longest_s)
    if title.startswith("poison"):
        phase, cause = chance.choice([("agent", ""), ("tests", ""), ("", "timeout")])
        return Script(boot, work / 4, phase=phase, cause=cause)
    dice = chance.random()
    if dice < 0.05:
        return Script(boot, work, phase="agent")
    if dice < 0.09:
        return Script(boot, work, cause="vm_lost")
    return Script(boot, work, asks=dice > 0.95, changes=dice > 0.14)


@dataclass(slots=True)
class Kept:
    """One file of the journal: `finished` once the end is decided."""

    assignment: m.Assignment
    started: bool = False
    finished: m.Finished | None = None


class Uplink(Protocol):
    def send(self, event: m.HostEvent, acked: Callable[[], None] | None = None) -> None: ...


class Attempt:
    def __init__(self, runner: SimRunner, kept: Kept) -> None:
        self.runner = runner
        self.kept = kept
        self.ref = kept.assignment.attempt
        self.going = asyncio.Event()
        self.answered = asyncio.Event()
        self.adopted = kept.started
        self.task: asyncio.Task[None] | None = None

    def hold(self, *, held: bool) -> None:
        if held == self.going.is_set():
            self.going.clear() if held else self.going.set()
            if self.kept.started:
                self.runner.vm("pause" if held else "run", self.ref)

    async def spend(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.going.wait()

    async def run(self) -> None:
        script = self.runner.script(self.kept.assignment)
        if not self.adopted:
            await self.runner.claim()
            await self.spend(script.boot_s)
            self.kept.started = True
            self.runner.vm("run", self.ref)
            boot = BootTiming(Tier.T1, 2500)
            self.runner.uplink.send(m.Started(self.ref, f"vm_{self.ref.attempt_id}", boot))
            self.runner.uplink.send(m.Running(self.ref, boot))
        await self.spend(script.work_s / 2)
        self.say("log", "halfway")
        if script.asks and not self.adopted:
            await self.ask()
        await self.spend(script.work_s / 2)
        self.finish(await self.end(script))

    async def ask(self) -> None:
        self.say("question", "which one?")
        async with asyncio.timeout(QUESTION_PATIENCE_S):
            await self.answered.wait()
        await self.going.wait()

    async def end(self, script: Script) -> m.Finished:
        if script.cause:
            return m.Finished(self.ref, cause=script.cause, reason="by the script")
        if script.phase:
            outcome = guest_pb2.Outcome(status="failed", phase=script.phase, exit_code=1)
            return m.Finished(self.ref, outcome=outcome.SerializeToString())
        head = ""
        if script.changes:
            await self.runner.gate()
            head = self.runner.push(self.ref)
        outcome = guest_pb2.Outcome(status="succeeded", head=head)
        return m.Finished(self.ref, outcome=outcome.SerializeToString(), head=head, base=BASE if head else "")

    def say(self, kind: str, text: str) -> None:
        event = guest_pb2.GuestEvent(seq=1, type=kind, text=text, time_ns=self.runner.wall_ns())
        batch = guest_pb2.EventBatch(events=[event]).SerializeToString()
        self.runner.uplink.send(m.AgentEvents(self.ref, batch, logs=int(kind == "log")))

    def finish(self, end: m.Finished) -> None:
        self.kept.finished = end
        self.runner.report(self.kept)


class SimRunner:
    """Implements what hostd.session and hostd.lease want of the runner; `disk` outlives it."""

    def __init__(
        self,
        host_id: str,
        disk: dict[str, Kept],
        history: History,
        *,
        uplink: Uplink,
        gate: Callable[[], Awaitable[None]],
        push: Callable[[m.AttemptRef], str],
        script: Callable[[m.Assignment], Script],
        wall_ns: Callable[[], int],
        vms: int,
    ) -> None:
        self.host_id = host_id
        self.disk = disk
        self.uplink = uplink
        self.gate = gate
        self.push = push
        self.script = script
        self.wall_ns = wall_ns
        self.reports = self
        self.live: dict[str, Attempt] = {}
        self._history = history
        self._vms = vms
        self._room = Vacancy()
        self._claimed = 0
        self._fenced = True

    def resend(self) -> None:
        """Nothing is reported but what the journal repeats."""

    def adopt(self) -> None:
        """VMs that run go on once the lease is good; what had not started is lost."""
        for attempt_id, kept in tuple(self.disk.items()):
            if kept.finished is not None:
                self.report(kept)
            elif kept.started:
                self._claimed += 1
                self._begin(kept)
            else:
                del self.disk[attempt_id]

    # From the control plane

    def take(self, event: m.ControlEvent) -> None:
        match event:
            case m.Assignment():
                self.hear("assignment", event.attempt)
                if event.attempt.attempt_id not in self.disk:
                    kept = self.disk[event.attempt.attempt_id] = Kept(event)
                    self._begin(kept)
            case m.Revoke(ref, _):
                self.hear("revoke", ref)
                self._drop(ref)
            case m.Answer(ref, number, _):
                self.hear("answer", ref)
                self.uplink.send(m.Answered(ref, number))
                if ref.attempt_id in self.live:
                    self.live[ref.attempt_id].answered.set()
            case m.Cordon(cordoned):
                self._history.note("host.hear", host=self.host_id, what="cordon", on=cordoned)
            case _:
                pass

    def _begin(self, kept: Kept) -> None:
        attempt = self.live[kept.assignment.attempt.attempt_id] = Attempt(self, kept)
        attempt.hold(held=self._fenced)
        attempt.task = asyncio.create_task(self._run(attempt))

    async def _run(self, attempt: Attempt) -> None:
        try:
            await attempt.run()
        except HostFullError as error:
            attempt.finish(m.Finished(attempt.ref, cause="host_failed", reason=str(error)))
        except TimeoutError:
            attempt.finish(m.Finished(attempt.ref, cause="timeout", reason="nobody answered"))

    async def claim(self) -> None:
        async def acquire() -> None:
            if self._claimed >= self._vms:
                raise HostFullError("every VM is in use")
            self._claimed += 1

        await self._room.claim(acquire, VACANCY_S)

    def report(self, kept: Kept) -> None:
        """Ends the VM, and says so until it is heard."""
        ref, finished = kept.assignment.attempt, kept.finished
        assert finished is not None
        self._end(ref)
        said = {"ok": not finished.cause and bool(finished.outcome), "head": finished.head, "cause": finished.cause}
        self._history.note("host.say", host=self.host_id, what="finished", **_named(ref), **said)
        self.uplink.send(finished, lambda: self._acked(ref))

    def _acked(self, ref: m.AttemptRef) -> None:
        self.disk.pop(ref.attempt_id, None)

    def _drop(self, ref: m.AttemptRef) -> None:
        attempt = self.live.get(ref.attempt_id)
        if attempt is not None and attempt.ref == ref and attempt.kept.finished is None:
            assert attempt.task is not None
            attempt.task.cancel()
            self._end(ref)
            self.disk.pop(ref.attempt_id, None)
        if ref.attempt_id not in self.live:
            self.uplink.send(m.Stopped(ref))

    def _end(self, ref: m.AttemptRef) -> None:
        attempt = self.live.pop(ref.attempt_id, None)
        if attempt is not None and attempt.kept.started:
            self.vm("end", ref)
            self._claimed -= 1
            self._room.signal()

    # The lease

    def refs(self) -> tuple[m.AttemptRef, ...]:
        return tuple(kept.assignment.attempt for kept in self.disk.values())

    async def fence(self) -> None:
        self._fenced = True
        for attempt in self.live.values():
            attempt.hold(held=True)

    async def unfence(self) -> None:
        self._fenced = False
        for attempt in self.live.values():
            attempt.hold(held=False)

    async def destroy(self, ref: m.AttemptRef, reason: str) -> None:
        self.hear("stale", ref)
        if (kept := self.disk.get(ref.attempt_id)) and kept.finished is not None:
            self._acked(ref)
        self._drop(ref)

    # What others see

    def vm(self, what: str, ref: m.AttemptRef) -> None:
        self._history.note(f"vm.{what}", host=self.host_id, **_named(ref))

    def hear(self, what: str, ref: m.AttemptRef) -> None:
        self._history.note("host.hear", host=self.host_id, what=what, **_named(ref))


def _named(ref: m.AttemptRef) -> dict[str, str | int]:
    return {"ticket": ref.ticket_id, "attempt": ref.attempt_id, "fence": ref.fence}
