"""The database survives the control plane's process; each life opens a store of its own over it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import apsw

from controlplane.backup.void import void
from controlplane.domain.audit import Seals
from controlplane.errors import Unavailable
from controlplane.ports import Bus, Tx
from controlplane.stores.memory import Memory
from controlplane.stores.session import Session
from controlplane.stores.sqlite import MEMORY, SqliteSession, SqliteStore, opened
from controlplane.stores.tokens import Tokens
from controlplane.stores.writer import Job, commit_group
from tests.sim.loop import KilledError, Process

T = TypeVar("T")

SEALS = Seals.of(["the key of all simulated control planes"])


@cache
def _pristine() -> apsw.Connection:
    """An empty database with the current schema, to copy from: a migration takes longer than a run."""
    return opened(MEMORY)


def _copy(source: apsw.Connection) -> apsw.Connection:
    made = apsw.Connection(MEMORY)
    with made.backup("main", source, "main") as copy:
        copy.step()
    return made


class Database:
    def __init__(self) -> None:
        self.connection = _copy(_pristine())

    def copy(self) -> apsw.Connection:
        """What is committed now."""
        self.forget_the_dead()
        return _copy(self.connection)

    def forget_the_dead(self) -> None:
        if self.connection.in_transaction:  # a process died in the middle of a commit
            self.connection.execute("ROLLBACK")


def void_all(connection: apsw.Connection, epoch: int, now: float) -> None:
    """Begins an epoch, as a restore does."""
    job = Job(lambda tx: void(tx, epoch, now))
    commit_group(SqliteSession(connection), Tokens(b""), Memory(SEALS), (job,))
    if job.error:
        raise job.error


class SimStore(SqliteStore):
    """A store whose writes take a moment before and after their commit, may fail, and end with their process."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        clock: Callable[[], float],
        *,
        process: Process | None = None,
        chance: random.Random | None = None,
        fails: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(MEMORY, bus, inline=True, clock=clock, seals=SEALS)
        self._database = database
        self._process = process
        self._chance = chance
        self._fails = fails

    def prepare(self) -> Session:
        self._database.forget_the_dead()
        return SqliteSession(self._database.connection)

    async def write(self, work: Callable[[Tx], T]) -> T:
        await self._pause()
        if self._process is not None and not self._process.alive:
            raise KilledError
        if self._fails():
            raise Unavailable("the disk is full", reason="database_failed")
        result = await super().write(work)
        await self._pause()
        return result

    async def close(self) -> None:
        """The connection is the database here, and stays."""
        self._main = None

    async def _pause(self) -> None:
        if self._chance is not None:
            slow = self._chance.random()
            await asyncio.sleep(0 if slow < 0.7 else slow * 0.02)
