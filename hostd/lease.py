"""Lease arithmetic of a host: how long it may go on without hearing from the control plane.

All times are seconds of a monotonic clock and are handed in. A renewal counts from the moment it was *sent*: the
control plane extends the lease later than that, so the host always gives up first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from hostd import metrics
from hostd.messages import AttemptRef, Renewal, Renewed

Clock = Callable[[], float]


class Lease:
    """Pure bookkeeping of renewals. It starts fenced: nothing may run before the first success."""

    def __init__(self, self_fence_s: float) -> None:
        self.self_fence_s = self_fence_s
        self._sent: dict[int, float] = {}
        self._nonce = 0
        self._renewed_at: float | None = None

    def send(self, now: float) -> int:
        """Note that a renewal leaves now; returns its nonce."""
        self._nonce += 1
        self._sent[self._nonce] = now
        while len(self._sent) > 64:  # noqa: PLR2004  # unanswered ones of a long outage
            del self._sent[next(iter(self._sent))]
        return self._nonce

    def renewed(self, nonce: int) -> None:
        """Take an answer; it settles older renewals too. Unknown or repeated nonces have no effect."""
        sent = self._sent.pop(nonce, None)
        if sent is None:
            return
        for older in [n for n in self._sent if n < nonce]:
            del self._sent[older]
        self._renewed_at = sent if self._renewed_at is None else max(sent, self._renewed_at)

    def fenced(self, now: float) -> bool:
        """True when the host must not let its VMs run."""
        deadline = self.deadline()
        return deadline is None or now >= deadline

    def deadline(self) -> float | None:
        """When the host has to fence itself; None before the first success."""
        return None if self._renewed_at is None else self._renewed_at + self.self_fence_s

    def oldest_unanswered(self) -> float | None:
        """When the oldest renewal without an answer was sent."""
        return next(iter(self._sent.values()), None)

    def forget_unanswered(self) -> None:
        """Answers of a broken stream never come."""
        self._sent.clear()


class Fenced(Protocol):
    """What the keeper acts upon."""

    def refs(self) -> tuple[AttemptRef, ...]:
        """Attempts to renew."""

    async def fence(self) -> None:
        """Pause everything leased and close its upstreams."""

    async def unfence(self) -> None:
        """Let everything leased run again."""

    async def destroy(self, ref: AttemptRef, reason: str) -> None:
        """End an attempt whose fence is over; nothing is reported."""


class LeaseKeeper:
    """Sends renewals while connected and fences the host when their answers stay away."""

    def __init__(
        self,
        fenced: Fenced,
        send: Callable[[Renewal], None],
        reconnect: Callable[[], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self._target = fenced
        self._send = send
        self._reconnect = reconnect
        self._clock = clock
        self._lease = Lease(self_fence_s=30.0)
        self._renew_every_s = 5.0
        self._connected = False
        self._fenced = True
        self._next_renewal = 0.0
        self._wake = asyncio.Event()
        self._good = asyncio.Event()
        self._transition = asyncio.Lock()

    @property
    def fenced(self) -> bool:
        return self._fenced

    async def wait_good(self) -> None:
        """Return while the lease is good: the gate before anything that must not happen on a lost lease."""
        await self._good.wait()

    def connected(self, renew_every_s: float, self_fence_s: float) -> None:
        """A stream is up: take the control plane's periods and renew at once."""
        self._renew_every_s = renew_every_s
        self._lease.self_fence_s = self_fence_s
        self._connected = True
        self.renew()

    def disconnected(self) -> None:
        self._connected = False
        self._lease.forget_unanswered()

    def renew(self) -> None:
        """Send a renewal now, if connected."""
        now = self._clock()
        self._next_renewal = now + self._renew_every_s
        if self._connected:
            self._send(Renewal(self._lease.send(now), self._target.refs()))
            self._wake.set()

    def _stalled(self) -> bool:
        """True when renewals of this stream stay unanswered for so long that it must be replaced."""
        oldest = self._lease.oldest_unanswered()
        return self._connected and oldest is not None and self._clock() - oldest > 3 * self._renew_every_s

    async def take(self, answer: Renewed) -> None:
        """Destroy what is stale, and let the rest run when the lease is good again."""
        self._lease.renewed(answer.nonce)
        for ref in answer.stale:
            await self._target.destroy(ref, "the lease is over")
        await self._settle()
        self._wake.set()

    async def run(self) -> None:
        """Renew and fence in time, until cancelled."""
        while True:
            # Fencing must not be left half done by a cancelled keeper.
            await asyncio.shield(asyncio.ensure_future(self._settle()))
            if self._stalled():
                self._reconnect()
            if self._clock() >= self._next_renewal:
                self.renew()
            await self._sleep()

    async def _settle(self) -> None:
        """Bring the VMs to what the lease says; one transition at a time."""
        async with self._transition:
            wanted = self._lease.fenced(self._clock())
            if wanted == self._fenced:
                return
            self._fenced = wanted
            metrics.FENCED.set(wanted)
            if wanted:
                metrics.LEASE_LOSSES.inc()
                self._good.clear()
                await self._target.fence()
            else:
                self._good.set()
                await self._target.unfence()

    async def _sleep(self) -> None:
        """Until there is something to do: the next renewal, the lease's end, or news."""
        self._wake.clear()
        deadline = self._lease.deadline()
        until = self._next_renewal if self._fenced or deadline is None else min(self._next_renewal, deadline)
        try:
            async with asyncio.timeout(max(0.0, until - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            pass
