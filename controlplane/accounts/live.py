"""Whose credentials stand now, in memory: no check of one waits for the store, and revoking takes effect at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from controlplane.domain.apikey import ApiKey
from controlplane.domain.call import Principal
from controlplane.domain.standing import Standing
from controlplane.errors import SwarmError, Unauthenticated
from controlplane.identity import TOPIC
from controlplane.ports import Bus, Store
from controlplane.tasks import end

SWEEP_S: Final = 60.0

log = logging.getLogger(__name__)


class Live:
    """Read anew whenever the store tells of a change, and by whoever made one before it is answered."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._used: dict[str, float] = {}
        self._standing = Standing()
        self._keys: dict[str, ApiKey] = {}

    async def start(self) -> None:
        changes = self._bus.subscribe(TOPIC)
        await self.refresh()
        self._task = asyncio.create_task(self._run(changes), name="accounts")

    async def stop(self) -> None:
        if self._task is not None:
            await end(self._task)
            with suppress(SwarmError):
                await self._note_used()

    async def refresh(self) -> None:
        """After it, whatever was committed before counts."""
        async with self._lock:
            now = self._store.now()
            self._standing = await self._store.read(lambda reader: reader.standing(now))
            self._keys = {key.id: key for key in self._standing.keys.values()}

    @property
    def anybody(self) -> bool:
        return bool(self._standing.members)

    def person(self, user_id: str, login_id: str, issued_at: float) -> Principal:
        """Who is logged in; `Unauthenticated` when the login or the user does not count any more."""
        standing = self._standing
        member = standing.members.get(user_id)
        if member is None or login_id in standing.revoked or issued_at < int(standing.not_before):
            raise Unauthenticated("the login has ended", reason="login_ended")
        return Principal(f"user:{user_id}", member.role, member.tenant_id, user_id=user_id, login_id=login_id)

    def program(self, digest: str) -> Principal:
        """Whose program comes with a key; notes that it does."""
        key = self._standing.keys.get(digest)
        if key is None:
            raise unknown_key()
        principal = self._of(key)
        self._used[key.id] = self._store.now()
        return principal

    def again(self, principal: Principal) -> Principal:
        """The same caller as of now, for what stays open; `Unauthenticated` when there is none any more."""
        if principal.login_id:
            return self.person(principal.user_id, principal.login_id, self._store.now())
        if principal.user_id:
            key = self._keys.get(principal.name.removeprefix("key:"))
            if key is None:
                raise unknown_key()
            return self._of(key)
        return principal

    def _of(self, key: ApiKey) -> Principal:
        """A key is never worth more than its user."""
        member = self._standing.members.get(key.user_id)
        if member is None or not key.stands(self._store.now()):
            raise unknown_key()
        return Principal(f"key:{key.id}", member.role, member.tenant_id, user_id=key.user_id, scopes=key.scopes)

    async def _run(self, changes: AsyncIterator[frozenset[str]]) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await anext(changes)
            try:
                await self.refresh()
                await self._note_used()
            except SwarmError as error:
                log.warning("accounts could not be read: %s", error)

    async def _note_used(self) -> None:
        """When keys were used, a batch at a time: nobody waits for it."""
        used, self._used = self._used, {}
        if used:
            await self._store.write(lambda tx: tx.api_keys_used(used))


def unknown_key() -> Unauthenticated:
    return Unauthenticated("the API key is not known here", reason="invalid_key")
