"""The store over any database: a writer that groups commits, readers beside it, and wake-ups after each commit."""

from __future__ import annotations

import asyncio
import math
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

from controlplane import metrics
from controlplane.domain.audit import Seals
from controlplane.errors import DiskFull, Unavailable
from controlplane.ports import Bus, Moved, Reader, Tx
from controlplane.stores.clock import resume, steady_clock
from controlplane.stores.journal import SELECT_SETTING, UPSERT_SETTING
from controlplane.stores.memory import Memory
from controlplane.stores.session import Session
from controlplane.stores.tokens import Tokens
from controlplane.stores.transaction import Reads
from controlplane.stores.unit import pack, unpack
from controlplane.stores.writer import Job, Work, Writer, commit_group

T = TypeVar("T")

READERS = 4
TOKEN_SECRET = "page_token_secret"  # noqa: S105 - the name of a setting


class SqlStore(ABC):
    """Implements ports.Store. With `inline` there are no threads: each call runs to its end where it is made.

    `full_at` is when a write was last lost for want of space, by the store's clock.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        inline: bool = False,
        clock: Callable[[], float] | None = None,
        seals: Seals | None = None,
    ) -> None:
        self._bus = bus
        self._inline = inline
        self._clock = clock or steady_clock()
        self._tokens = Tokens(b"")
        self._memory = Memory(seals)
        self._main: Session | None = None
        self._writer: Writer | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._readers: list[Session] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.full_at = -math.inf
        self._watchers: list[Callable[[Moved], None]] = []

    @abstractmethod
    def prepare(self) -> Session:
        """Open the database, check it, bring its schema up to date; StartError says what is wrong with it."""

    @abstractmethod
    def connect(self) -> Session:
        """Open one more connection for reading."""

    def now(self) -> float:
        return self._clock()

    async def open(self) -> None:
        """Raise with nothing left open, when the database cannot be used."""
        self._loop = asyncio.get_running_loop()
        self._main = self.prepare() if self._inline else await asyncio.to_thread(self.prepare)
        self._tokens = Tokens(secret_of(self._main))
        self._clock = resume(self._main, self._clock)
        if not self._inline:
            self._pool = ThreadPoolExecutor(READERS, "store-reader")
            self._writer = Writer(self._main, self._tokens, self._memory, self._committed)
            self._writer.start()

    async def close(self) -> None:
        """Finish the writes that were handed in, then close every connection. Closing twice is fine."""
        writer, pool, main = self._writer, self._pool, self._main
        self._writer = self._pool = self._main = None
        if writer:
            await asyncio.to_thread(writer.stop)
        if pool:
            await asyncio.to_thread(pool.shutdown)
        # The writing connection goes last: it is the one that may fold the log into the database.
        for session in (*self._readers, *((main,) if main else ())):
            session.close()
        self._readers.clear()

    async def read(self, query: Callable[[Reader], T]) -> T:
        """Run the query on one consistent snapshot. Unavailable once the store is closed."""
        if self._inline:
            return self._query(self._opened(), query)
        if self._pool is None or self._loop is None:
            raise closed()
        return await self._loop.run_in_executor(self._pool, self._read, query)

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run the work in the writer; returns after the commit, raises what it raised. Unavailable when it was lost.

        A caller that is cancelled while it waits does not know whether the work was done.
        """
        job = Job(cast("Work", work))
        if self._inline:
            commit_group(self._opened(), self._tokens, self._memory, (job,))
            self._publish((job,))
        elif self._writer is None or self._loop is None:
            raise closed()
        else:
            job.tag = self._loop.create_future()
            self._writer.put(job)
            await job.tag
        if job.error:
            raise job.error
        return cast("T", job.result)

    def watch(self, take: Callable[[Moved], None]) -> None:
        self._watchers.append(take)

    def reseal(self, seals: Seals) -> None:
        """Audit rows from now on are sealed with the newest of these keys; the first one marks the change."""
        self._memory.seals = seals

    def _opened(self) -> Session:
        if self._main is None:
            raise closed()
        return self._main

    def _read(self, query: Callable[[Reader], T]) -> T:
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self.connect()
            self._readers.append(session)
        return self._query(session, query)

    def _query(self, session: Session, query: Callable[[Reader], T]) -> T:
        session.begin(write=False)
        try:
            return query(Reads(session, self._tokens))
        finally:
            session.rollback()

    def _committed(self, jobs: Sequence[Job]) -> None:
        metrics.STORE_COMMITS.inc()
        metrics.STORE_WRITES.inc(len(jobs))
        if self._loop:
            self._loop.call_soon_threadsafe(self._publish, jobs)

    def _publish(self, jobs: Sequence[Job]) -> None:
        if any(isinstance(job.error, DiskFull) for job in jobs):
            self.full_at = self.now()
        for moved in [job.moved for job in jobs if job.moved]:
            for take in self._watchers:
                take(moved)
        topics: set[str] = set().union(*(job.topics for job in jobs))
        if topics:
            self._bus.notify(sorted(topics))
        for job in jobs:
            if job.tag is not None and not job.tag.done():
                job.tag.set_result(None)


def closed() -> Unavailable:
    return Unavailable("the store is closed", reason="store_closed")


def secret_of(session: Session) -> bytes:
    """Return the key that seals page tokens, made when the database is new."""
    if found := session.rows(SELECT_SETTING, (TOKEN_SECRET,)):
        return bytes.fromhex(unpack(found[0][0]))
    made = secrets.token_hex(32)
    session.change(UPSERT_SETTING, ((TOKEN_SECRET, pack(made)),))
    return bytes.fromhex(made)
