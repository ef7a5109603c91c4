"""One attempt: what it has, and the signals that reach it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hostd import metrics
from hostd.deadline import Deadline
from hostd.errors import AttemptTimeoutError, HostError, StalledError, VmLostError
from hostd.failpoint import failpoint
from hostd.messages import AgentEvents, Answered, Assignment, AttemptRef, Running
from hostd.ports import Vm
from hostd.runner.holds import Hold, Holds
from hostd.runner.journal import Entry
from hostd.runner.parts import Parts
from hostd.runner.push import Pushes
from hostd.runner.stall import Stall

log = logging.getLogger("hostd.runner")

LINES = 200


class Attempt:
    """What happens to it is up to its `Course`; `ended` is why it has to stop, once that is known."""

    def __init__(self, entry: Entry, parts: Parts, vm: Vm | None = None) -> None:
        self.entry = entry
        self.parts = parts
        self.vm = vm
        self.bundles: dict[str, Path] = {}
        self.attached = False
        self._saving = asyncio.Lock()
        self.arrived_ns = time.monotonic_ns()
        self.running_ns = 0
        self._first_byte_ns = 0
        self.holds = Holds(self._held)
        self.pushes = Pushes(self)
        self.adopted = vm is not None
        self._outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[HostError] = asyncio.get_running_loop().create_future()
        self._watch: asyncio.Task[None] | None = None
        self._wall = Deadline(self._seconds(), paused=True)
        self._boot = Deadline(parts.timing.boot, paused=True)
        self._stall = Stall(self._stall_s(), self._cpu_s)

    @property
    def assignment(self) -> Assignment:
        return self.entry.assignment

    @property
    def ref(self) -> AttemptRef:
        return self.entry.assignment.attempt

    @property
    def id(self) -> str:
        return self.entry.id

    @property
    def artifacts(self) -> Path:
        """Folder of what the guest hands in; the broker's, who makes it."""
        return self.parts.artifacts / self.id

    def _seconds(self) -> float:
        limit = self.parts.timing.attempt
        return min(self.entry.assignment.timeout_s or limit, limit)

    def _stall_s(self) -> float:
        wished = self.entry.assignment.stall_after_s
        return self.parts.timing.stall if wished < 0 else wished

    def _cpu_s(self) -> float:
        """What the VM has computed, as of its last sample."""
        samples = self.vm.samples() if self.vm else ()
        return samples[-1].cpu_s if samples else 0.0

    def require_vm(self) -> Vm:
        if self.vm is None:
            raise VmLostError("the attempt has no VM")
        return self.vm

    def update(self, **changes: Any) -> None:
        """Change the entry, in memory."""
        self.entry = replace(self.entry, **changes)

    async def save(self, *, sync: bool = False) -> None:
        """Bring the entry to disk, off the event loop: replacing a file may wait for the disk.

        A full disk must not end the work or keep its result from the control plane; only a crash would hurt then.
        """
        async with self._saving:
            try:
                await asyncio.to_thread(self.parts.journal.save, self.entry, sync=sync)
            except OSError:
                log.exception("attempt not written", extra={"attempt_id": self.id})

    # Signals from the broker

    def first_byte(self, monotonic_ns: int) -> None:
        self._first_byte_ns = self._first_byte_ns or monotonic_ns
        self._boot.pause()

    def agent_started(self, monotonic_ns: int) -> None:
        if self.entry.boot.agent_us or self.adopted:
            return
        boot = self.entry.boot
        ready_us = boot.boot_us + max(0, self._first_byte_ns - self.running_ns) // 1000
        agent_us = max(1, (monotonic_ns - self.arrived_ns) // 1000)
        self.update(boot=replace(boot, ready_us=ready_us, agent_us=agent_us))
        metrics.BOOT_SECONDS.labels(boot.tier.value).observe(boot.boot_us / 1e6)
        self.parts.uplink.send(Running(self.ref, self.entry.boot))

    def events(self, batch: bytes, logs: int) -> None:
        self.parts.uplink.send(AgentEvents(self.ref, batch, logs))

    def progressed(self, *, asking: bool) -> None:
        """Something new came from the guest; with `asking`, a person has to answer before more can come."""
        self._stall.progressed(asking=asking)

    def blocked(self, call: str) -> None:
        if call not in self.entry.blocked and len(self.entry.blocked) < LINES:
            self.update(blocked=(*self.entry.blocked, call))

    def findings(self, findings: Sequence[str]) -> None:
        self.update(findings=tuple(findings[:LINES]))

    def outcome(self, outcome: bytes, *, succeeded: bool, head: str) -> None:
        """`head` is the guest's word; what is reported is the head that this host pushed."""
        if head and head != self.entry.head:
            log.warning("guest names another head than it pushed", extra={"attempt_id": self.id})
        if not self._outcome.done():
            self.entry = replace(self.entry, outcome=outcome.hex())
            self._outcome.set_result(succeeded)

    # Signals from the control plane and the host

    async def answer(self, number: int, text: str) -> None:
        """Keep an answer, say so, and hand it on; a repeated one is only acknowledged again."""
        if str(number) not in self.entry.answers:
            self.update(answers={**self.entry.answers, str(number): text})
            await self.save()
            await failpoint("attempt_after_answer")
        self.parts.uplink.send(Answered(self.ref, number))
        if self.attached:
            await self.parts.broker.answer(self.id, number, text)

    def end(self, error: HostError) -> None:
        """End it for this reason; the first one counts."""
        if not self.ended.done():
            self.ended.set_result(error)

    @property
    def ending(self) -> bool:
        """True once its end is decided: it must not run again."""
        return self.ended.done()

    @property
    def answers(self) -> bool:
        """True while there is a guest at work that can be asked for a sign of life."""
        return self.attached and not self.ending and (self.adopted or bool(self._first_byte_ns))

    async def hold(self, hold: Hold) -> None:
        self.holds.add(hold)
        if hold is Hold.LEASE and self.attached:
            await self.parts.broker.suspend(self.id)
        await self.settle()

    async def release(self, hold: Hold) -> None:
        if hold not in self.holds:
            return
        self.holds.discard(hold)
        if hold is Hold.LEASE and self.attached:
            await self.parts.broker.restore(self.id)
        await self.settle()

    async def settle(self) -> None:
        """Pause or resume the VM as its holds say; a VM that cannot be held is lost."""
        if self.vm is None:
            return
        try:
            await self.holds.settle(self.vm)
        except HostError as error:
            self.end(VmLostError(f"the VM could not be paused or resumed: {error}"))

    def _held(self, still: bool) -> None:  # noqa: FBT001  # a callback with one argument
        if still:
            self._wall.pause()
            self._boot.pause()
            self._stall.pause()
        else:
            self._count()

    def _count(self) -> None:
        """Let the time run, as far as it may."""
        if not self.holds:
            self._wall.resume()
            self._stall.resume()
        # An adopted guest may be at work for hours without a word.
        if not self.holds and not self._first_byte_ns and not self.adopted:
            self._boot.resume()

    def watch_vm(self) -> None:
        self._watch = asyncio.ensure_future(self._watch_vm(self.require_vm()))

    async def _watch_vm(self, vm: Vm) -> None:
        reason = await vm.died()
        await asyncio.sleep(self.parts.timing.outcome_grace)
        self.end(VmLostError(reason))

    def unwatch(self) -> None:
        if self._watch:
            self._watch.cancel()

    async def until_outcome(self) -> None:
        """Let the time run until the guest has said how it went; HostError when it ran out."""
        self._count()
        wall, boot = (asyncio.ensure_future(d.expired()) for d in (self._wall, self._boot))
        stall = asyncio.ensure_future(self._stall.expired())
        try:
            waiting: set[asyncio.Future[Any]] = {self._outcome, wall, boot, stall}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._outcome.done():
                return
            if boot.done():
                raise VmLostError(f"the guest did not answer within {self.parts.timing.boot:.0f} s of its start")
            if stall.done():
                raise StalledError(stall.result())
            raise AttemptTimeoutError(f"ran longer than {self._seconds():.0f} s")
        finally:
            for each in (wall, boot, stall):
                each.cancel()
