"""Takes tickets back from hosts that stopped renewing."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from controlplane.domain.event import NewEvent
from controlplane.domain.lease import TIMES, LeaseTimes, braked, expired, over, silent_hosts
from controlplane.domain.ticket import LEASED, Ticket
from controlplane.errors import SwarmError
from controlplane.ports import Fleet, Reader, Store, Tx
from controlplane.tasks import end
from controlplane.usecases.coordinator import TOPIC
from controlplane.usecases.hosts import all_hosts, end_overdue_drains, next_drain_deadline
from controlplane.usecases.placement import lose_all
from controlplane.usecases.telling import tell_of_hosts

SWEEP_S: Final = 5.0

log = logging.getLogger(__name__)


class LeaseKeeper:
    """Looks every `sweep_s`: a lease that nobody renews makes no event."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        *,
        times: LeaseTimes = TIMES,
        sweep_s: float = SWEEP_S,
        unstored_at: Callable[[], float] = lambda: -math.inf,
    ) -> None:
        """`unstored_at` is when a renewal may last have been answered without being stored."""
        self._store = store
        self._times = times
        self._fleet = fleet
        self._sweep_s = sweep_s
        self._unstored_at = unstored_at
        self._started_at = store.now()
        self._braked: Mapping[str, bool] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Counts the first TTL, in which nothing expires, from here."""
        self._started_at = self._store.now()
        self._task = asyncio.create_task(self._run(), name="leases")

    async def stop(self) -> None:
        await end(self._task)
        self._task = None

    async def turn(self) -> int:
        """Ends what is over; answers how many tickets were taken back."""
        # After such a time as after a start: what the store says of leases is old, and hosts get one TTL to renew.
        connected, started_at = self._fleet.connected(), max(self._started_at, self._unstored_at())
        now = self._store.now()
        gone, silent = await self._store.read(lambda reader: self._gone(reader, connected, now, started_at))
        await self._note(silent if braked(silent) else {}, now)
        drained = await self._end_drains(now)
        if not gone:
            return drained
        return drained + await self._store.write(lambda tx: self._take_back(tx, gone, self._store.now()))

    async def _end_drains(self, now: float) -> int:
        deadline = await self._store.read(next_drain_deadline)
        if deadline is None or deadline > now:
            return 0
        return await self._store.write(lambda tx: end_overdue_drains(tx, now))

    def alerts(self) -> tuple[str, ...]:
        """For people, while the brake holds."""
        away = sum(self._braked.values())
        gone = f"{away} of {len(self._braked)} hosts are gone together"
        return (f"{gone}: no lease expires until they return, or 10 minutes passed",) if self._braked else ()

    async def _note(self, holding: Mapping[str, bool], now: float) -> None:
        """Say when the brake takes hold and when it lets go."""
        before, self._braked = self._braked, holding
        if bool(before) == bool(holding):
            return
        for alert in self.alerts():
            log.error(alert)
        data = {"silent": sum(holding.values()), "hosts": len(holding)}
        event = NewEvent(TOPIC, "leases.braked" if holding else "leases.released", data)
        await self._store.write(lambda tx: tx.add_events([event], now))

    def _gone(
        self, reader: Reader, connected: Collection[str], now: float, started_at: float
    ) -> tuple[list[Ticket], Mapping[str, bool]]:
        leased = reader.leased_tickets()
        if not any(over(ticket, now, self._times) for ticket in leased):
            return [], {}
        silent = silent_hosts(all_hosts(reader), connected, leased, now, started_at)
        return expired(leased, now, started_at, silent, self._times), silent

    def _take_back(self, tx: Tx, gone: Sequence[Ticket], now: float) -> int:
        """Looks again: the host may have renewed, or finished, since the tickets were read."""
        attempts = {ticket.attempt_id for ticket in gone}
        still = [
            ticket
            for ticket in tx.tickets_by_id([ticket.id for ticket in gone])
            if ticket.state in LEASED and ticket.attempt_id in attempts and over(ticket, now, self._times)
        ]
        if still:
            reason = "its host stopped renewing the lease"
            lose_all(tx, still, now, cause="host_lost", reason=reason, times=self._times)
            tell_of_hosts(tx, Counter(ticket.host_id for ticket in still), now)
        return len(still)

    def _note_standstill(self, looked: float) -> float:
        """After we stood still ourselves, hosts get one TTL as after a start; answers when we look now."""
        now = self._store.now()
        if now > looked + self._sweep_s + self._times.grace_s:
            log.warning("nobody looked at the leases for %.0f s: none expires in the next %g s", now - looked,
                        self._times.ttl_s)  # fmt: skip
            self._started_at = now
        return now

    async def _run(self) -> None:
        looked = self._store.now()
        while True:
            looked = self._note_standstill(looked)
            try:
                await self.turn()
            except SwarmError as error:
                log.warning("leases could not be checked: %s", error)
            except Exception:
                log.exception("checking the leases failed")
            await asyncio.sleep(self._sweep_s)
