"""Keeps the control plane from growing for good, and has hosts clean up when somebody asks for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from controlplane.domain.cleanup import PERIODIC, REMOVE_BRANCHES, CleanupReport, CleanupRun, Retention, added
from controlplane.domain.event import Effect
from controlplane.domain.ticket import Ticket
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.errors import SwarmError
from controlplane.ports import Fleet, Reader, Store, Tx
from controlplane.tasks import end
from controlplane.usecases.coordinator import TOPIC

EVERY_S: Final = 300.0
MARKS: Final = "cleanup"  # setting: how far, by (finished_at, id), tickets were gone through
SHARED_TOPICS: Final = (TICKETS_TOPIC, TOPIC)
TICKETS: Final = 100  # in one write, so that nobody waits long behind it
ROWS: Final = 500
TURNS: Final = 100  # of one run; the next one goes on
HOSTS_AT_ONCE: Final = 32
HOST_S: Final = 120.0

log = logging.getLogger(__name__)

Act: TypeAlias = Callable[[Tx, Sequence[Ticket], float], int]


class Cleanup:
    """One run at a time, every few minutes over the control plane's own things, on demand over hosts too.

    `leases` takes back what hosts that are gone hold, and answers how many leases that were.
    """

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        leases: Callable[[], Awaitable[int]],
        *,
        retention: Retention,
        every_s: float = EVERY_S,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._leases = leases
        self._retention = retention
        self._every_s = every_s
        self._one = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="cleanup")

    async def stop(self) -> None:
        await end(self._task)
        self._task = None

    def keep(self, retention: Retention) -> None:
        """From the next turn on."""
        self._retention = retention

    async def turn(self, by: str = PERIODIC) -> CleanupReport:
        """The control plane's own things. What failed is in the run that is kept."""
        async with self._one:
            return await self._keep([await self._own(by)])

    async def everything(self, by: str) -> CleanupReport:
        """The control plane and every attached host; what failed is named in the details."""
        async with self._one:
            places = asyncio.Semaphore(HOSTS_AT_ONCE)
            hosts = (self._host(by, host_id, places) for host_id in sorted(self._fleet.connected()))
            return await self._keep(await asyncio.gather(self._own(by), *hosts))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                report = await self.turn()
            except SwarmError as error:
                log.warning("the cleanup could not be recorded: %s", error)
                continue
            if not report.empty:
                log.info("cleaned up", extra={"rows": report.rows, "details": report.details})

    async def _keep(self, runs: Sequence[CleanupRun]) -> CleanupReport:
        def keep(tx: Tx) -> None:
            for run in runs:
                tx.add_cleanup_run(run)

        await self._store.write(keep)
        failed = tuple(f"{run.host_id or 'control plane'}: {run.error}" for run in runs if run.error)
        return added([*(run.report for run in runs), CleanupReport(details=failed)])

    async def _host(self, by: str, host_id: str, places: asyncio.Semaphore) -> CleanupRun:
        report, error, started = CleanupReport(), "", self._store.now()
        try:
            async with places, asyncio.timeout(HOST_S):
                async for update in self._fleet.command(host_id, "cleanup", {}):
                    report = update.cleanup or report
        except SwarmError as fault:
            error = fault.message
        except TimeoutError:
            error = f"did not answer within {HOST_S:.0f} s"
        return CleanupRun(host_id, by, started, self._store.now(), report, error)

    async def _own(self, by: str) -> CleanupRun:
        """Part by part; one that fails keeps the others from nothing."""
        done, errors, started = list[CleanupReport](), list[str](), self._store.now()
        for part in (self._stale, self._rows, self._shared_events, self._ticket_events, self._branches):
            try:
                done.append(await part(started))
            except SwarmError as fault:
                errors.append(fault.message)
            except Exception:
                log.exception("a part of the cleanup failed")
                errors.append("internal error; the log says more")
        return CleanupRun("", by, started, self._store.now(), added(done), "; ".join(errors))

    async def _stale(self, _now: float) -> CleanupReport:
        return CleanupReport(assignments=await self._leases())

    async def _rows(self, now: float) -> CleanupReport:
        before = self._retention.rows_before(now)
        return CleanupReport(rows=await self._repeat(lambda tx: tx.forget_rows(before, ROWS) if before else 0))

    async def _shared_events(self, now: float) -> CleanupReport:
        before, rows = self._retention.rows_before(now), 0
        for topic in SHARED_TOPICS:
            rows += await self._repeat(lambda tx, topic=topic: _forget_shared(tx, topic, before))  # type: ignore[misc]
        return CleanupReport(rows=rows)

    async def _ticket_events(self, now: float) -> CleanupReport:
        return CleanupReport(rows=await self._each("events", self._retention.rows_before(now), _forget_events))

    async def _branches(self, now: float) -> CleanupReport:
        return CleanupReport(branches=await self._each("branches", self._retention.branches_before(now), _end_branches))

    async def _repeat(self, work: Callable[[Tx], int]) -> int:
        """One write after the other until there is nothing left to do."""
        total = 0
        for _ in range(TURNS):
            if not (count := await self._store.write(work)):
                break
            total += count
        return total

    async def _each(self, name: str, before: float, act: Act) -> int:
        """Act once on each ticket that was finished before then."""
        total = 0
        for _ in range(TURNS):
            tickets = await self._store.read(
                lambda reader: reader.finished_tickets(_mark(reader, name), before, TICKETS)
            )
            if not tickets:
                break
            total += await self._store.write(lambda tx, batch=tickets: self._advance(tx, name, batch, act))  # type: ignore[misc]
        return total

    def _advance(self, tx: Tx, name: str, tickets: Sequence[Ticket], act: Act) -> int:
        last = tickets[-1]
        tx.set_setting(MARKS, {**_marks(tx), name: [last.finished_at, last.id]})
        return act(tx, tickets, self._store.now())


def _marks(reader: Reader) -> dict[str, Any]:
    return dict(reader.setting(MARKS) or {})


def _mark(reader: Reader, name: str) -> tuple[float, str]:
    finished_at, ident = _marks(reader).get(name, (0.0, ""))
    return float(finished_at), str(ident)


def _forget_shared(tx: Tx, topic: str, before: float) -> int:
    through = tx.first_event(topic, ROWS, before)
    return tx.forget_events([topic], through) if through else 0


def _forget_events(tx: Tx, tickets: Sequence[Ticket], _now: float) -> int:
    return tx.forget_events([f"ticket:{ticket.id}" for ticket in tickets])


def _end_branches(tx: Tx, tickets: Sequence[Ticket], now: float) -> int:
    """Left to the outbox, which repeats what fails. Only a ticket that had an attempt has branches."""
    worked = [ticket for ticket in tickets if ticket.fence and ticket.spec.project_id]
    tx.add_effects([_effect(ticket) for ticket in worked], now)
    return len(worked)


def _effect(ticket: Ticket) -> Effect:
    what = {"tenant_id": ticket.tenant_id, "ticket_id": ticket.id, "fence": ticket.fence}
    return Effect(f"{ticket.id}:{ticket.fence}:branches", REMOVE_BRANCHES, what)
