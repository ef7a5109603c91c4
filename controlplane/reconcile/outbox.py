"""Performs the effects that transactions left behind: at least once each, again after a failure or a crash."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from controlplane import metrics
from controlplane.domain.claim import is_external
from controlplane.domain.cleanup import REMOVE_BRANCHES
from controlplane.domain.event import Effect, NewEvent
from controlplane.domain.lease import LeaseRef, holds
from controlplane.domain.notification import MAIL, SLACK
from controlplane.domain.transitions import ANSWER, OPEN_PULL_REQUEST, REVOKE
from controlplane.errors import SwarmError, Unavailable
from controlplane.ports import Bus, Fleet, Forge, Reader, Store, Tx
from controlplane.reconcile.branches import remove_branches
from controlplane.reconcile.pullrequests import open_pull_request
from controlplane.usecases.accounts.passwords import MAIL_RESET

TOPIC: Final = "outbox"
SENT: Final = (MAIL_RESET, MAIL, SLACK)  # to people
SWEEP_S: Final = 5.0
AT_ONCE: Final = 8
# What is in hand of a kind; so what goes to hosts never waits behind a slow upstream.
MOST: Final = {
    REVOKE: 100,
    ANSWER: 100,
    OPEN_PULL_REQUEST: AT_ONCE,
    REMOVE_BRANCHES: AT_ONCE,
    **dict.fromkeys(SENT, AT_ONCE),
}
MAX_DELAY_S: Final = 60.0
MAX_ERROR: Final = 2000
AGAIN_S: Final = 30.0  # until an answer that its host has not acknowledged is told again
# An upstream that is gone for good keeps its branches; nothing but disk depends on it.
# Nobody waits longer for a message.
MOST_TRIES: Final = dict.fromkeys((REMOVE_BRANCHES, *SENT), 10)

Sender: TypeAlias = Callable[[Store, str, Mapping[str, Any]], Awaitable[None]]  # with the key and what it is about

log = logging.getLogger(__name__)


class Outbox:
    """One per deployment. Effects run beside each other; one key never runs twice at a time."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        forge: Forge,
        fleet: Fleet,
        *,
        sweep_s: float = SWEEP_S,
        senders: Mapping[str, Sender] = MappingProxyType({}),
    ) -> None:
        """`senders` performs what is told to people, by kind of effect."""
        self._store = store
        self._bus = bus
        self._forge = forge
        self._fleet = fleet
        self._senders = senders
        self._sweep_s = sweep_s
        self._tries: dict[str, int] = {}
        self._in_hand: dict[str, dict[str, asyncio.Task[None]]] = {kind: {} for kind in MOST}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(self._bus.subscribe(TOPIC)), name="outbox")

    async def stop(self) -> None:
        """Effects in hand are dropped; they are done again at the next start."""
        in_hand = (task for tasks in self._in_hand.values() for task in tasks.values())
        tasks = [*in_hand, *([self._task] if self._task else [])]
        self._task = None
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def turn(self) -> int:
        """Performs what is due now and finds a place; answers how many effects it tried."""
        tasks = await self._begin()
        await asyncio.gather(*tasks)
        return len(tasks)

    async def _begin(self) -> list[asyncio.Task[None]]:
        now = self._store.now()
        with_room = [kind for kind, most in MOST.items() if len(self._in_hand[kind]) < most]
        due = await self._store.read(
            # What is in hand is still due, and stands before the rest.
            lambda reader: [effect for kind in with_room for effect in reader.due_effects(now, MOST[kind], kind)]
        )
        tasks = []
        for effect in due:
            in_hand = self._in_hand[effect.kind]
            if effect.key not in in_hand and len(in_hand) < MOST[effect.kind]:
                in_hand[effect.key] = asyncio.create_task(self._perform(effect), name=f"outbox {effect.key}")
                metrics.OUTBOX_IN_HAND.labels(effect.kind).set(len(in_hand))
                tasks.append(in_hand[effect.key])
        return tasks

    async def _run(self, changes: AsyncIterator[frozenset[str]]) -> None:
        while True:
            try:
                await self._begin()
            except SwarmError as error:
                log.warning("the outbox could not be read: %s", error)
            except Exception:
                log.exception("reading the outbox failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._sweep_s):
                    await anext(changes)

    async def _perform(self, effect: Effect) -> None:
        try:
            await self._do(effect)
            metrics.OUTBOX_EFFECTS.labels(effect.kind, "done").inc()
            self._tries.pop(effect.key, None)
        except SwarmError as error:
            await self._failed(effect, error.message, error.retry_after_s or 0)
        except Exception:
            log.exception("effect %s failed", effect.key)
            await self._failed(effect, "internal error")
        finally:
            self._put_down(effect)

    def _put_down(self, effect: Effect) -> None:
        in_hand = self._in_hand[effect.kind]
        if len(in_hand) == MOST[effect.kind]:  # others may have waited for the place
            self._bus.notify((TOPIC,))
        in_hand.pop(effect.key, None)
        metrics.OUTBOX_IN_HAND.labels(effect.kind).set(len(in_hand))

    async def _do(self, effect: Effect) -> None:
        if effect.kind == OPEN_PULL_REQUEST:
            async with self._places:
                await open_pull_request(self._store, self._forge, effect.key, effect.payload)
        elif effect.kind == REMOVE_BRANCHES:
            async with self._places:
                await remove_branches(self._store, self._forge, effect.key, effect.payload)
        elif effect.kind in SENT:
            if (send := self._senders.get(effect.kind)) is None:
                raise Unavailable("no mail server is configured any more", reason="mail_not_configured")
            await send(self._store, effect.key, effect.payload)
        elif effect.kind == REVOKE:
            await self._revoke(effect)
        else:
            await self._answer(effect)

    async def _revoke(self, effect: Effect) -> None:
        """A host that is away learns it when it comes back: its lease is stale then."""
        what = effect.payload
        self._fleet.revoke(what["host_id"], what["attempt_id"], what["ticket_id"], what["fence"], what["reason"])
        await self._done(effect)

    async def _answer(self, effect: Effect) -> None:
        """Tells the host, again and again until it says that it keeps the answer, or the attempt that asked is over.

        A host that comes back, to this control plane or to the next one, is told at once: see `placement.hello`.
        """
        what = effect.payload
        claimed = is_external(what["host_id"])  # its program gets the answer with its next heartbeat
        if claimed or not await self._store.read(lambda reader: _holds(reader, effect)):
            return await self._done(effect)
        if what["host_id"] not in self._fleet.connected():
            raise Unavailable("its host is away", reason="host_away")
        # Before it is told, so that its word comes after this.
        again = self._store.now() + AGAIN_S
        await self._store.write(lambda tx: tx.effect_failed(effect.key, "", again))
        # An effect of an earlier version bears no number: it is the first answer of its attempt.
        self._fleet.answer(what["host_id"], _ref(effect), what.get("number", 1), what["text"])
        return None

    async def _done(self, effect: Effect) -> None:
        await self._store.write(lambda tx: tx.effect_done(effect.key, self._store.now()))

    async def _failed(self, effect: Effect, error: str, least_s: float = 0) -> None:
        metrics.OUTBOX_EFFECTS.labels(effect.kind, "failed").inc()
        tries = self._tries[effect.key] = self._tries.get(effect.key, 0) + 1
        if tries >= MOST_TRIES.get(effect.kind, tries + 1):
            log.warning("effect %s is given up after %d tries: %s", effect.key, tries, error)
            with suppress(SwarmError):
                await self._done(effect)
                self._tries.pop(effect.key, None)
            return
        delay = max(min(MAX_DELAY_S, 2.0 ** (tries - 1)), least_s)
        log.warning("effect %s failed, again in %.0f s: %s", effect.key, delay, error)
        with suppress(SwarmError):
            await self._store.write(
                lambda tx: _note(tx, effect, error[:MAX_ERROR], self._store.now(), delay, first=tries == 1)
            )
            asyncio.get_running_loop().call_later(delay, self._bus.notify, (TOPIC,))


def _holds(reader: Reader, effect: Effect) -> bool:
    what = effect.payload
    ticket = next(iter(reader.tickets_by_id([what["ticket_id"]])), None)
    return holds(ticket, what["host_id"], _ref(effect))


def _ref(effect: Effect) -> LeaseRef:
    what = effect.payload
    return LeaseRef(what["attempt_id"], what["ticket_id"], what["fence"])


def _note(tx: Tx, effect: Effect, error: str, now: float, delay: float, *, first: bool) -> None:
    tx.effect_failed(effect.key, error, now + delay)
    if first and "ticket_id" in effect.payload:
        topic = f"ticket:{effect.payload['ticket_id']}"
        tx.add_events([NewEvent(topic, "effect.failed", {"effect": effect.kind, "error": error})], now)
