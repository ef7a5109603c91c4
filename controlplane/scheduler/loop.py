"""Places tickets whenever something changed that may let one be placed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

from controlplane.domain.circuit import CLAUDE
from controlplane.domain.lease import TIMES, LeaseTimes
from controlplane.errors import SwarmError
from controlplane.failpoint import hit
from controlplane.ports import Bus, Fleet, Store
from controlplane.scheduler.applier import apply
from controlplane.scheduler.feed import ALL_HOSTS, TOPICS, Feed
from controlplane.scheduler.gate import Room
from controlplane.scheduler.offers import TOPIC as OFFERS
from controlplane.scheduler.offers import Offer, Wanted
from controlplane.scheduler.plan import Plan, plan
from controlplane.tasks import end

SWEEP_S: Final = 5.0
# Tickets and settings are looked at in every turn; hosts have no cursor.
_SWEPT: Final = frozenset({ALL_HOSTS})
EXPLAINED: Final = 1000  # tickets for which the status gives a reason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SchedulerStatus:
    """`unplaceable` says by ticket key why it still waits."""

    queue_depth: int
    running: int
    unplaceable: Mapping[str, str] = field(default_factory=dict)


class Scheduler:
    """Wakes by the bus and by the next retry delay; the sweep is there for a wake-up that got lost."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        fleet: Fleet,
        *,
        times: LeaseTimes = TIMES,
        sweep_s: float = SWEEP_S,
        hold: Callable[[], str] = str,
        listening: Callable[[], Collection[str]] | None = None,
        room: Room = lambda _upstream: None,
    ) -> None:
        """`hold` says why nothing new is placed now; empty: it is. `listening`: hosts that can be told of a ticket.

        `room` says how many attempts may be live at once that need an upstream; None: any number.
        """
        self._store = store
        self._times = times
        self._bus = bus
        self._fleet = fleet
        self._sweep_s = sweep_s
        self._hold = hold
        self._listening = listening or fleet.connected
        self._room = room
        self._feed = Feed(store)
        store.watch(self._feed.hear)
        self._plan = Plan(())
        self._astray = True  # the snapshot may be wrong: load it anew
        self._swept_at = store.now()
        self._stopping = False
        self._begun = self._ended = 0  # turns
        self._turned = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Loads what is there and begins to place."""
        # Subscribed before the load, so that nothing falls between.
        changes = self._bus.subscribe(*TOPICS)
        self._stopping = False
        await self._load()
        self._task = asyncio.create_task(self._run(changes), name="scheduler")

    async def stop(self) -> None:
        """Ends after the batch in hand. What is leased stays leased."""
        self._stopping = True
        async with self._turned:
            self._turned.notify_all()
        await end(self._task)
        self._task = None

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self._task is not None and not self._task.done()

    def status(self, tenant_id: str = "") -> SchedulerStatus:
        """As of the last plan. Reasons for one tenant's tickets, or all of them: a key is unique in its tenant only."""
        snapshot, offers, gate = self._feed.snapshot, self._feed.offers, self._feed.gate
        unknown = ((key, why) for tenant, key, why in self._feed.unknown.values() if tenant_id in {"", tenant})
        held = islice(chain(offers.waiting(tenant_id), gate.waiting(tenant_id)), EXPLAINED)
        unplaceable = dict(unknown) | dict(held)
        for queue, reason in self._plan.refused.items():
            if tenant_id not in {"", queue[0][0]}:
                continue
            for key, _ in snapshot.waiting_in(queue):
                if len(unplaceable) >= EXPLAINED:
                    break
                unplaceable[key] = reason
        queued = snapshot.queue_depth + len(self._feed.unknown) + len(offers) + len(gate.held)
        return SchedulerStatus(queued, snapshot.leased, unplaceable)

    def take(self, wanted: Wanted, now: float) -> Offer | None:
        """The ticket of an external agent that is next, if one is on offer: nobody else gets it meanwhile.

        Whoever finds no room for it gives it back; one that changed is learnt of by its event.
        """
        snapshot = self._feed.snapshot
        if self._hold() or self._feed.limits is None:
            return None
        return self._feed.offers.take(wanted, now, snapshot.running, snapshot.projects)

    def give_back(self, offer: Offer) -> None:
        """Puts it on offer again, unless it came back by itself."""
        self._feed.offers.restore(offer)
        self._bus.notify((OFFERS,))

    def next_due(self, now: float) -> float | None:
        """When the next retry delay of a ticket on offer is over."""
        return self._feed.offers.next_due(now)

    async def caught_up(self) -> None:
        """Returns once everything that is committed by now is known here."""
        if self._task is None:
            return
        async with self._turned:
            wanted = self._begun + 1
            self._bus.notify(("settings",))
            await self._turned.wait_for(lambda: self._ended >= wanted or self._stopping)

    async def turn(self, topics: Collection[str] = ()) -> int:
        """Catches up, plans and places until nothing more fits; answers how many were placed."""
        if self._astray:
            await self._load()
        else:
            await self._feed.catch_up(topics)
        placed = 0
        while (count := await self._place()) and not self._stopping:
            placed += count
            await self._feed.catch_up(())
        return placed

    async def _load(self) -> None:
        await self._feed.load()
        self._astray = False

    async def _place(self) -> int:
        snapshot = self._feed.snapshot
        self._feed.regulate(self._room(CLAUDE))
        snapshot.release_due(self._store.now())
        snapshot.connect(frozenset(self._listening()))
        limits = None if self._hold() else self._feed.limits
        self._plan = planned = plan(snapshot, limits) if limits else Plan(())
        if not planned.placements:
            return 0
        applied = await self._store.write(lambda tx: apply(tx, planned.placements, self._store.now(), self._times))
        hit("assigned_before_deliver")
        self._fleet.assign(applied.assignments)
        for ticket_id, reason in applied.rejected.items():
            log.info("placement no longer holds", extra={"ticket_id": ticket_id, "reason": reason})
        self._astray = bool(applied.rejected)
        return len(applied.assignments)

    async def _run(self, changes: AsyncIterator[frozenset[str]]) -> None:
        topics: Collection[str] = ()
        while not self._stopping:
            self._begun += 1
            # Shielded: a lease that is committed is handed to its host even while we are being stopped.
            work = asyncio.ensure_future(self._turn_and_survive(topics))
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                await work
                raise
            await self._tell()
            topics = await self._change(changes)

    async def _tell(self) -> None:
        """Wakes those who wait for a turn, or for something on offer."""
        async with self._turned:
            self._ended = self._begun
            self._turned.notify_all()
        if self._feed.offers:
            self._bus.notify((OFFERS,))

    async def _turn_and_survive(self, topics: Collection[str]) -> None:
        try:
            await self.turn(topics)
        except SwarmError as error:
            self._astray = True
            log.warning("nothing could be placed: %s", error)
        except Exception:
            self._astray = True
            log.exception("the scheduler failed in this turn")

    async def _change(self, changes: AsyncIterator[frozenset[str]]) -> Collection[str]:
        topics: Collection[str] = ()
        due, sweep_at = self._feed.snapshot.next_due(), self._swept_at + self._sweep_s
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(sweep_at, due or sweep_at) - self._store.now())):
                topics = await anext(changes)
        if self._store.now() < sweep_at:
            return topics
        self._swept_at = self._store.now()
        return _SWEPT | set(topics)
