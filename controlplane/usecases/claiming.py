"""Claims of external agents, with what happens outside the store: waiting for a ticket, and git."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Protocol

from controlplane.domain.call import Call
from controlplane.domain.claim import LONGEST_LEASE_S
from controlplane.domain.lease import TIMES, LeaseTimes
from controlplane.domain.ticket import Ticket
from controlplane.errors import Conflict, FailedPrecondition, InvalidInput, StaleFence, SwarmError
from controlplane.failpoint import hit
from controlplane.ports import Base, Bus, Store, Subscription, Workspaces
from controlplane.scheduler.offers import TOPIC, Offer, Wanted
from controlplane.tasks import end
from controlplane.usecases import claims, placement
from controlplane.usecases.claims import Beat, ClaimRequest, Ending, Held, Pulse

TIDY_S: Final = 60.0

log = logging.getLogger(__name__)


class OfferSource(Protocol):
    """The scheduler, as far as claims need it."""

    def take(self, wanted: Wanted, now: float) -> Offer | None: ...
    def give_back(self, offer: Offer) -> None: ...
    def next_due(self, now: float) -> float | None: ...
    async def caught_up(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim whose program may start; `base` is None for a ticket without a repository."""

    held: Held
    base: Base | None


class Claims:
    """One per control plane. Stop it before the edges: calls that wait for a ticket end then."""

    def __init__(
        self, store: Store, bus: Bus, offers: OfferSource, workspaces: Workspaces, *, times: LeaseTimes = TIMES
    ) -> None:
        """Of `times` the retry delays count here: each claim has a lease time of its own."""
        self.store = store
        self.workspaces = workspaces
        self._times = times
        self._bus = bus
        self._offers = offers
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._tidy(), name="claims")

    async def stop(self) -> None:
        self._stopping.set()
        await end(self._task)
        self._task = None

    async def claim(self, call: Call, request: ClaimRequest) -> Claimed | None:
        """The first ticket that the request takes, leased and prepared; None when there is none in time."""
        if again := await self.store.read(lambda reader: claims.begun(reader, call, request)):
            return await self._prepared(again)
        wanted = Wanted(call.principal.tenant_id, request.agents, request.project_id, frozenset(request.tags))
        async with contextlib.aclosing(self._bus.subscribe(TOPIC)) as changes, self._until_stopped():
            deadline = asyncio.get_running_loop().time() + request.wait_s
            await self._offers.caught_up()
            while True:
                if offer := self._offers.take(wanted, self.store.now()):
                    if claimed := await self._lease(call, request, offer):
                        return claimed
                elif not await self._change(changes, deadline):
                    return None

    async def heartbeat(self, call: Call, ident: str, pulse: Pulse) -> Beat:
        return await self.store.write(lambda tx: claims.heartbeat(tx, call, ident, pulse))

    async def complete(self, call: Call, ident: str, fence: int, ending: Ending) -> tuple[Ticket, tuple[str, ...]]:
        """Ends the attempt: scan, upstream, record. Also what the scan found and does not refuse."""
        try:
            held = await self.store.read(lambda reader: claims.find(reader, call, ident, fence))
        except StaleFence:
            if done := await self.store.read(lambda reader: claims.done_before(reader, call, ident, fence, ending)):
                return done, ()
            raise
        findings: tuple[str, ...] = ()
        if ending.ok and held.repository:
            async with self._kept(held):
                findings = await self._deliver(held, ending)
        elif ending.head:
            raise InvalidInput("head: only what succeeded in a repository has one", reason="bad_head")
        now, times = self.store.now, self._times
        ticket = await self.store.write(lambda tx: claims.finish(tx, held, ending, findings, now(), times=times))
        await self.workspaces.discard(held.claim.attempt_id)
        return ticket, findings

    async def _deliver(self, held: Held, ending: Ending) -> tuple[str, ...]:
        attempt = held.assignment.attempt
        head = ending.head or attempt.base
        if head != await self.workspaces.head(attempt.id):
            raise FailedPrecondition(
                f"{head or 'nothing'} is not what was pushed to {attempt.branch}; push it first, and name its commit",
                reason="head_not_pushed",
            )
        if head == attempt.base:
            return ()
        findings = await self.workspaces.inspect(attempt.id, head)
        hit("claim_scanned_before_published")
        await self.workspaces.publish(held.assignment, head)
        hit("claim_published_before_recorded")
        return findings

    async def _lease(self, call: Call, request: ClaimRequest, offer: Offer) -> Claimed | None:
        """None when somebody was quicker, or there is no room, or its repository cannot be prepared."""
        ticket_id = offer.ticket.id
        try:
            held = await self.store.write(lambda tx: claims.lease(tx, call, request, ticket_id, self.store.now()))
        except Conflict as error:
            if error.reason != "concurrent_change":
                raise
            return None
        except BaseException:
            self._offers.give_back(offer)
            raise
        if held is None or held.again:
            self._offers.give_back(offer)
            await self._offers.caught_up()
        hit("claim_leased_before_answered")
        return await self._prepared(held) if held else None

    async def _prepared(self, held: Held) -> Claimed | None:
        """The claim once its repository stands; a fault of that ends the attempt as it would on a host."""
        try:
            async with self._kept(held):
                base = await self.workspaces.prepare(held.assignment) if held.repository else None
            begun = await self.store.write(lambda tx: claims.begin(tx, held, base, self.store.now()))
        except StaleFence:
            return None
        except SwarmError as error:
            log.warning("a claim could not be prepared: %s", error, extra={"attempt_id": held.claim.attempt_id})
            await self._lose(held, error)
            return None
        return Claimed(begun, base)

    async def _lose(self, held: Held, error: SwarmError) -> None:
        cause = "prepare_failed" if isinstance(error, InvalidInput) else "git_down"
        ref, now, times = held.claim.lease(held.ticket.fence), self.store.now, self._times
        with contextlib.suppress(StaleFence):
            await self.store.write(
                lambda tx: placement.lost(
                    tx, held.claim.host_id, ref, now(), cause=cause, reason=error.message, times=times
                )
            )

    async def _change(self, changes: Subscription, deadline: float) -> bool:
        """Waits for something new on offer; False when the time is over."""
        loop, now = asyncio.get_running_loop(), self.store.now()
        due = self._offers.next_due(now)
        wake = deadline if due is None else min(deadline, loop.time() + due - now)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(wake):
                await anext(changes)
        return loop.time() < deadline and not self._stopping.is_set()

    @contextlib.asynccontextmanager
    async def _until_stopped(self) -> AsyncIterator[None]:
        """Wakes the waiting when this is stopped."""
        waker = asyncio.create_task(self._wake())
        try:
            yield
        finally:
            waker.cancel()

    async def _wake(self) -> None:
        await self._stopping.wait()
        self._bus.notify((TOPIC,))

    @contextlib.asynccontextmanager
    async def _kept(self, held: Held) -> AsyncIterator[None]:
        """Keeps the lease while we work on it: its program cannot renew what it does not know of."""
        keeper = asyncio.create_task(self._keep(held))
        try:
            yield
        finally:
            keeper.cancel()

    async def _keep(self, held: Held) -> None:
        while True:
            with contextlib.suppress(SwarmError):  # who lost the lease learns it when the work is recorded
                await self.store.write(lambda tx: claims.prolong(tx, held.claim, held.ticket.fence, self.store.now()))
            await asyncio.sleep(min(held.claim.lease_s, LONGEST_LEASE_S) / 3)

    async def _tidy(self) -> None:
        """Removes the repositories of claims that are over, whichever way they ended."""
        while True:
            try:
                if present := await self.workspaces.present():
                    for attempt_id in set(present) - await self.store.read(claims.live_attempts):
                        await self.workspaces.discard(attempt_id)
            except SwarmError as error:
                log.warning("repositories of claims could not be tidied up: %s", error)
            except Exception:
                log.exception("tidying up after claims failed")
            await asyncio.sleep(TIDY_S)
