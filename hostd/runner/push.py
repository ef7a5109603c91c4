"""Accepted heads go upstream, one after the other, and the broker is told how it went."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any, Protocol

from hostd.errors import HostError, UpstreamError
from hostd.failpoint import failpoint
from hostd.messages import Assignment
from hostd.runner.journal import Entry
from hostd.runner.parts import Parts

log = logging.getLogger("hostd.runner")

HEAD = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Pushing(Protocol):
    """Whose heads they are."""

    entry: Entry
    parts: Parts

    @property
    def id(self) -> str: ...
    @property
    def assignment(self) -> Assignment: ...
    def update(self, **changes: Any) -> None: ...
    async def save(self) -> None: ...


class Pushes:
    """The upstream pushes of one attempt. `failure` is (cause, reason) of the last one, empty when it went through."""

    def __init__(self, attempt: Pushing) -> None:
        self._attempt = attempt
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self.failure = ("", "")

    def put(self, head: str) -> None:
        """A head that passed the broker's checks; anything else than an object id is ignored."""
        if not HEAD.fullmatch(head):
            log.warning("ignored a malformed head", extra={"attempt_id": self._attempt.id})
            return
        task = asyncio.ensure_future(self._push(head))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Return when no push is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _push(self, head: str) -> None:
        attempt = self._attempt
        async with self._turn:
            try:
                await self._upstream(head)
                attempt.update(head=head)
                await attempt.save()
            except Exception as error:  # noqa: BLE001  # the guest waits for an answer whatever happened
                self.failure = _failure(error)
            else:
                self.failure = ("", "")
            await attempt.parts.broker.pushed(attempt.id, head, self.failure[1] or None)

    async def _upstream(self, head: str) -> None:
        attempt = self._attempt
        repository = attempt.assignment.repository
        # A push on a lost lease would hand out a branch that its successor does not know of.
        await attempt.parts.gate()
        await failpoint("push_before_upstream")
        if repository.base_ref and not attempt.entry.conflicts:
            # Its dependencies may have moved on since an earlier attempt pushed it.
            await attempt.parts.repositories.push(attempt.id, attempt.entry.base, repository.base_ref, replace=True)
        await attempt.parts.repositories.push(attempt.id, head, repository.push_ref)
        await failpoint("push_after_upstream")


def _failure(error: Exception) -> tuple[str, str]:
    if isinstance(error, HostError):
        return error.cause, str(error)[:2000]
    log.error("upstream push failed unexpectedly", exc_info=error)
    return UpstreamError.cause, f"unexpected {type(error).__name__} on the host"
