"""Agents that bring their own sandbox: claim a ticket, keep it while you work, end it.

worker = ExternalWorker(swarm, ["porter"])
async for work in worker.tickets():
async with work:
...  # clone work.claim.git_url, change, commit, push
await work.succeed(head, "ported")
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from google.protobuf.struct_pb2 import Struct

from swarm_sdk.client import Client
from swarm_sdk.errors import FailedPreconditionError, SwarmError, UnavailableError
from swarm_sdk.types import Claim, ClaimEvent, Ticket

LONGEST_WAIT_S = 60.0
BEATS_PER_LEASE = 3


class ExternalWorker:
    """Claims tickets of these external agents, of any when none is named."""

    def __init__(
        self,
        client: Client,
        agents: Iterable[str] = (),
        *,
        project_id: str = "",
        tags: Iterable[str] = (),
        lease_s: float = 60.0,
        name: str = "",
    ) -> None:
        """`name` is shown to people; `lease_s` is how long the ticket stays ours when we fall silent."""
        self._client = client
        self._agents = tuple(agents)
        self._project_id = project_id
        self._tags = tuple(tags)
        self._lease_s = lease_s
        self._name = name

    async def claim(self, wait_s: float = 0.0) -> Work | None:
        """One ticket, waiting for it at most `wait_s` seconds (up to 60); None when there is none."""
        claim = await self._client.tickets.claim(
            self._agents,
            project_id=self._project_id,
            tags=self._tags,
            lease_s=self._lease_s,
            wait_s=wait_s,
            worker=self._name,
        )
        return Work(self._client, claim) if claim else None

    async def tickets(self) -> AsyncGenerator[Work, None]:
        """One after the other, for ever; survives a control plane that is away for a while."""
        while True:
            try:
                work = await self.claim(LONGEST_WAIT_S)
            except UnavailableError:
                await asyncio.sleep(1.0)
                continue
            if work:
                yield work


class Work:
    """A claimed ticket. Within `async with` its lease is renewed in the background.

    Loses the claim: the block is cancelled, and `FailedPreconditionError` says why. Leaving it without `succeed` or
    `fail` ends the attempt as failed.
    """

    def __init__(self, client: Client, claim: Claim) -> None:
        self.claim = claim
        self.answers: asyncio.Queue[str] = asyncio.Queue()
        self._client = client
        self._ended = False
        self._lost: SwarmError | None = None
        self._beating: asyncio.Task[None] | None = None
        self._owner: asyncio.Task[Any] | None = None
        self._cursor = 0
        self._one_beat = asyncio.Lock()

    @property
    def ticket(self) -> Ticket:
        return self.claim.ticket

    async def log(self, text: str) -> None:
        """A line of the ticket's log."""
        await self._beat(ClaimEvent(type="log", text=text))

    async def progress(self, text: str, data: Mapping[str, Any] | None = None) -> None:
        """How far it is; `data` may hold `fraction`, 0 to 1."""
        body = Struct()
        body.update(dict(data or {}))
        await self._beat(ClaimEvent(type="progress", text=text, data=body))

    async def ask(self, question: str) -> str:
        """The answer of a person, however long it takes."""
        await self._beat(ClaimEvent(type="question", text=question))
        return await self.answers.get()

    async def succeed(self, head: str = "", summary: str = "") -> Ticket:
        """Ends it; `head` is the commit that was pushed, empty for nothing to change.

        `FailedPreconditionError` with reason `scan_refused`: amend, push and call it again.
        """
        return await self._complete(ok=True, head=head, summary=summary)

    async def fail(self, summary: str = "", cause: str = "agent_failed") -> Ticket:
        """Ends it as failed; the ticket is tried again as after a failure in a VM."""
        return await self._complete(ok=False, summary=summary, cause=cause)

    async def _complete(self, *, ok: bool, head: str = "", summary: str = "", cause: str = "") -> Ticket:
        """No heartbeat goes out beside it: one that came after the end would look like a lost claim."""
        async with self._one_beat:
            answer = await self._client.tickets.complete(
                self.ticket.id, self.claim.fence, ok=ok, head=head, summary=summary, cause=cause
            )
            self._ended = True
            return answer.ticket

    async def __aenter__(self) -> Self:
        self._owner = asyncio.current_task()
        self._beating = asyncio.create_task(self._keep_beating())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        if self._lost is not None:
            if isinstance(error, asyncio.CancelledError) and self._owner is not None:
                self._owner.uncancel()
            raise self._lost
        if not self._ended:
            cause = "cancelled" if isinstance(error, asyncio.CancelledError) else "agent_failed"
            with contextlib.suppress(SwarmError):
                await self.fail(f"{kind.__name__}: {error}"[:2000] if kind else "it ended without a result", cause)

    async def _keep_beating(self) -> None:
        pause = self.claim.lease.ToTimedelta().total_seconds() / BEATS_PER_LEASE
        while True:
            await asyncio.sleep(pause)
            try:
                await self._beat()
            except FailedPreconditionError as error:
                if not self._ended:
                    self._lost = error
                    assert self._owner is not None
                    self._owner.cancel()
                return
            except SwarmError:
                continue  # the control plane is away: the lease may still outlast that

    async def _beat(self, *events: ClaimEvent) -> None:
        async with self._one_beat:  # two at once would give the same answer twice
            if self._ended:
                return
            answer = await self._client.tickets.heartbeat(
                self.ticket.id, self.claim.fence, events, answer_cursor=self._cursor
            )
            for each in answer.answers:
                self._cursor = each.seq
                self.answers.put_nowait(each.text)
