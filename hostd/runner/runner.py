"""All attempts of this host: takes assignments, routes signals, keeps results until they are acknowledged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from hostd import messages as m
from hostd import metrics
from hostd.cleanup import Cleaner
from hostd.errors import HostError, HostStoppingError, UnhealthyError, ViolationError
from hostd.health import Health
from hostd.ports import Vm
from hostd.runner.adoption import Adoption, classify
from hostd.runner.attempt import Attempt
from hostd.runner.commands import Commands
from hostd.runner.course import Course, LeftRunningError, RevokedError
from hostd.runner.holds import Hold
from hostd.runner.journal import Entry, Phase
from hostd.runner.manual import ManualVms
from hostd.runner.parts import Parts
from hostd.runner.reports import Known, Reports, vm_record
from telemetry.logs import begin
from telemetry.traceparent import parse

log = logging.getLogger("hostd.runner")

POLL_S = 0.05
RECONNECT_S = 1.0


class Runner:
    """`adopt` once, then `take` what the control plane sends. Implements the broker's and the lease's callbacks."""

    def __init__(self, parts: Parts, *, stats_every_s: float = 2.0, idle_vm_s: float = 600.0) -> None:
        self._parts = parts
        self._live: dict[str, Attempt] = {}
        self._unacked: dict[str, Entry] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._fenced = True
        self._stopping = False
        self.manual = ManualVms(parts.vms)
        self.health = Health(parts.vms, self)
        self.reports = Reports(parts.vms, parts.uplink, self._known, self.health.pulse, stats_every_s)
        self.commands = Commands(parts.vms, self, parts.uplink, parts.consoles, parts.default_image)
        self.cleaner = Cleaner(parts, self.manual, self.attempt_ids, idle_vm_s)

    # Start and stop

    async def adopt(self, vms: Sequence[Vm]) -> None:
        """Take over what an earlier hostd left; nothing of it runs on before the lease is known to be good."""
        plan = classify(self._parts.journal.load(), vms)
        for entry in plan.finished:
            self._report(entry)
        for entry, vm in plan.running:
            attempt = Attempt(entry, self._parts, vm)
            await attempt.hold(Hold.LEASE)
            await self._adopt_repository(entry)
            self._begin(attempt)
        for vm in plan.manual:
            self.manual.adopt(vm)
        await self._clear(plan)

    async def _adopt_repository(self, entry: Entry) -> None:
        if url := entry.assignment.repository.url:
            try:
                await self._parts.repositories.adopt(entry.id, url)
            except HostError as error:
                # Its push will fail and say so; the agent's work may still be of use.
                log.warning("repository not adopted", extra={"attempt_id": entry.id, "reason": str(error)})

    async def _clear(self, plan: Adoption) -> None:
        for entry in plan.lost:
            log.warning("attempt did not survive the restart", extra={"attempt_id": entry.id})
            await self._parts.repositories.discard(entry.id)
            self._parts.journal.delete(entry.id)
        for vm in plan.stray:
            log.warning("stopping a VM that belongs to no attempt", extra={"vm_id": vm.id})
            await vm.stop()

    async def stop(self, *, keep_vms: bool) -> None:
        """End everything; with `keep_vms` leave started VMs to the next hostd."""
        self._stopping = True
        await self.commands.close()
        for attempt in self._live.values():
            stays = keep_vms and attempt.entry.phase is Phase.STARTED
            attempt.end(LeftRunningError() if stays else HostStoppingError("the host daemon is stopping"))
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if not keep_vms:
            await self.manual.stop_all()
        await self._until_acked(self._parts.timing.stop)

    async def _until_acked(self, seconds: float) -> None:
        """Give the control plane a moment to take the last results; those it does not take stay on disk."""
        for step in range(int(seconds / POLL_S)):
            away = not self._parts.uplink.up() and step * POLL_S >= RECONNECT_S
            if not self._unacked or away:
                return
            await asyncio.sleep(POLL_S)

    # What the control plane says

    def take(self, event: m.ControlEvent) -> None:
        """Anything but a renewal's answer, which is the lease keeper's."""
        match event:
            case m.Assignment():
                self._assign(event)
            case m.Revoke(ref, reason):
                self._revoke(ref, reason)
            case m.Answer(ref, number, text):
                self._background(self._answer(ref, number, text))
            case m.Command():
                self.commands.take(event)
            case m.Cordon(cordoned):
                log.info("cordoned" if cordoned else "uncordoned")
            case _:
                log.warning("ignored an unknown message of the control plane")

    def _assign(self, assignment: m.Assignment) -> None:
        ref = assignment.attempt
        if ref.attempt_id in self._live or ref.attempt_id in self._unacked or self._stopping:
            return
        log.info("assigned", extra={"attempt_id": ref.attempt_id, "ticket_id": ref.ticket_id, "fence": ref.fence})
        self._begin(Attempt(Entry(assignment), self._parts))

    def _begin(self, attempt: Attempt) -> None:
        self._live[attempt.id] = attempt
        metrics.ATTEMPTS.set(len(self._live))
        self._tasks[attempt.id] = asyncio.ensure_future(self._run(attempt))

    async def _run(self, attempt: Attempt) -> None:
        trace = parse(attempt.assignment.traceparent)
        begin(attempt=attempt.id, ticket_id=attempt.ref.ticket_id, trace_id=trace.trace_id if trace else "")
        try:
            if self._fenced:
                await attempt.hold(Hold.LEASE)
            await Course(attempt, lambda: self._report(attempt.entry)).run()
        except Exception:
            log.exception("attempt broke", extra={"attempt_id": attempt.id})
            if attempt.vm:
                await attempt.vm.stop()
        finally:
            self._live.pop(attempt.id, None)
            metrics.ATTEMPTS.set(len(self._live))
            self._tasks.pop(attempt.id, None)
            self.reports.poke()
            self._forget_unless_kept(attempt)

    def _forget_unless_kept(self, attempt: Attempt) -> None:
        left = self._stopping and attempt.entry.phase is Phase.STARTED
        if attempt.id not in self._unacked and not left:
            self._parts.journal.delete(attempt.id)

    def _report(self, entry: Entry) -> None:
        log.info("finished", extra={"attempt_id": entry.id, "cause": entry.cause or "outcome", "head": entry.head})
        metrics.FINISHED.labels(entry.cause or "outcome").inc()
        self._unacked[entry.id] = entry
        self._parts.uplink.send(entry.finished(), lambda: self._acked(entry.id))

    def _acked(self, attempt_id: str) -> None:
        self._unacked.pop(attempt_id, None)
        if attempt_id not in self._live:
            self._parts.journal.delete(attempt_id)

    def _revoke(self, ref: m.AttemptRef, reason: str) -> None:
        attempt = self._live.get(ref.attempt_id)
        if attempt is None:
            self._parts.uplink.send(m.Stopped(ref))
        elif attempt.ref.fence == ref.fence:
            log.info("revoked", extra={"attempt_id": ref.attempt_id, "reason": reason})
            attempt.end(RevokedError(reason))

    async def _answer(self, ref: m.AttemptRef, number: int, text: str) -> None:
        """One for an attempt that is over is dropped; the control plane drops it too when it hears of the end."""
        if attempt := self._live.get(ref.attempt_id):
            await attempt.answer(number, text)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[f"task-{id(task)}"] = task
        task.add_done_callback(lambda _: self._tasks.pop(f"task-{id(task)}", None))

    # The lease

    def refs(self) -> tuple[m.AttemptRef, ...]:
        """Attempts that run, and those whose end is not acknowledged yet."""
        unacked = {entry.id: entry.assignment.attempt for entry in self._unacked.values()}
        return tuple((unacked | {attempt.id: attempt.ref for attempt in self._live.values()}).values())

    async def fence(self) -> None:
        log.warning("no renewal succeeded in time: pausing leased VMs", extra={"attempts": len(self._live)})
        self._fenced = True
        await asyncio.gather(*(attempt.hold(Hold.LEASE) for attempt in self._live.values()))
        self.reports.poke()

    async def unfence(self) -> None:
        self._fenced = False
        going_on = [attempt for attempt in self._live.values() if not attempt.ending]
        await asyncio.gather(*(attempt.release(Hold.LEASE) for attempt in going_on))
        self.reports.poke()

    async def destroy(self, ref: m.AttemptRef, reason: str) -> None:
        if (entry := self._unacked.get(ref.attempt_id)) and entry.assignment.attempt.fence == ref.fence:
            self._acked(ref.attempt_id)
        self._revoke(ref, reason)

    # What the broker says

    def first_byte(self, attempt_id: str, monotonic_ns: int) -> None:
        if attempt := self._live.get(attempt_id):
            attempt.first_byte(monotonic_ns)

    def agent_started(self, attempt_id: str, monotonic_ns: int) -> None:
        if attempt := self._live.get(attempt_id):
            attempt.agent_started(monotonic_ns)
            self.reports.poke()

    def alive(self, attempt_id: str, monotonic_ns: int) -> None:
        attempt = self._live.get(attempt_id)
        if attempt and attempt.vm:
            self.health.heard(attempt.vm.id, monotonic_ns)

    def events(self, attempt_id: str, batch: bytes, *, logs: int = 0) -> None:
        if attempt := self._live.get(attempt_id):
            attempt.events(batch, logs)

    def push(self, attempt_id: str, head: str) -> None:
        if attempt := self._live.get(attempt_id):
            attempt.pushes.put(head)

    def outcome(self, attempt_id: str, outcome: bytes, *, succeeded: bool, head: str) -> None:
        if attempt := self._live.get(attempt_id):
            attempt.outcome(outcome, succeeded=succeeded, head=head)

    def progressed(self, attempt_id: str, *, asking: bool) -> None:
        if attempt := self._live.get(attempt_id):
            attempt.progressed(asking=asking)

    def blocked(self, attempt_id: str, call: str) -> None:
        if attempt := self._live.get(attempt_id):
            attempt.blocked(call)

    def findings(self, attempt_id: str, findings: Sequence[str]) -> None:
        if attempt := self._live.get(attempt_id):
            attempt.findings(findings)

    def violation(self, attempt_id: str, reason: str) -> None:
        if attempt := self._live.get(attempt_id):
            attempt.end(ViolationError(reason))

    # What reports and commands ask

    def attempt_of(self, vm_id: str) -> Attempt | None:
        return next((a for a in self._live.values() if a.vm is not None and a.vm.id == vm_id), None)

    def _known(self, vm: Vm) -> Known:
        if attempt := self.attempt_of(vm.id):
            return Known(attempt.entry.boot, attempt.ref)
        return Known(self.manual.timing(vm.id), None)

    def record_of(self, vm: Vm) -> m.VmRecord:
        return vm_record(vm, self._parts.vms, self._known(vm), self.health.pulse(vm.id))

    def poke(self) -> None:
        self.reports.poke()

    def attempt_ids(self) -> frozenset[str]:
        """Attempts whose files are in use."""
        return frozenset(self._live) | frozenset(self._unacked)

    async def cleanup(self) -> m.CleanupReport:
        return await self.cleaner.sweep()

    # Health

    async def ask(self, vm: Vm) -> bool:
        """Only a guest that was heard of once can answer; until then its start has a deadline of its own."""
        attempt = self.attempt_of(vm.id)
        if attempt is None or not attempt.answers:
            return False
        await self._parts.broker.ask(attempt.id)
        return True

    def lose(self, vm_id: str, reason: str) -> None:
        """The ticket goes on elsewhere. A VM booted by hand is removed: a new one would not be the one asked for."""
        self.reports.poke()
        if attempt := self.attempt_of(vm_id):
            attempt.end(UnhealthyError(reason))
        elif manual := self.manual.get(vm_id):
            self._background(self.manual.stop(manual))
