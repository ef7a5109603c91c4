"""SQLite, through apsw and the current library that it brings along."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
from peewee import PeeweeException
from playhouse.apsw_ext import APSWDatabase

from controlplane.domain.audit import Seals
from controlplane.errors import Conflict, DiskFull, StartError, Unavailable
from controlplane.ports import Bus
from controlplane.stores.checkpoint import Checkpointer
from controlplane.stores.schema import migrate
from controlplane.stores.session import Compiled, Row, Session
from controlplane.stores.store import SqlStore

MEMORY = ":memory:"
APPLICATION_ID = 0x5357524D  # "SWRM", in the file's header
BUSY_MS = 10_000
FILE_FLAGS = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
# The first release without the race by which two connections that reset the log at once can lose what it held.
OLDEST_LIBRARY = 3_051_003
# A log that grew behind a long read is cut back to this once it was folded in.
LOG_BYTES = 16 << 20
RETRY_S = 5.0
NO_SPACE = frozenset({apsw.SQLITE_FULL, apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_SHMOPEN})


UNUSABLE = (
    apsw.FullError,
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.CorruptError,
    apsw.BusyError,
    apsw.CantOpenError,
)


class SqliteSession:
    """Implements stores.session.Session over one apsw connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def begin(self, *, write: bool) -> None:
        self.rows("BEGIN IMMEDIATE" if write else "BEGIN")

    def commit(self) -> None:
        self.rows("COMMIT")

    def rollback(self) -> None:
        if self.in_transaction():
            self.rows("ROLLBACK")

    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def savepoint(self) -> None:
        self.rows("SAVEPOINT unit")

    def release(self) -> None:
        self.rows("RELEASE unit")

    def undo(self) -> None:
        # A full disk ends the whole transaction, and the savepoint with it.
        if self.in_transaction():
            self.rows("ROLLBACK TO unit")
            self.rows("RELEASE unit")

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        with translated():
            return self._connection.execute(sql, params).fetchall()

    def select(self, query: Compiled) -> list[Row]:
        return self.rows(*query.sql())

    def change(self, sql: str, params: Iterable[Sequence[Any]]) -> int:
        before = self._connection.total_changes()
        with translated():
            self._connection.executemany(sql, params)
        return self._connection.total_changes() - before

    def changed(self, sql: str, params: Iterable[Sequence[Any]]) -> list[Row]:
        with translated():
            return self._connection.executemany(sql, params).fetchall()

    def close(self) -> None:
        self._connection.close()


@contextmanager
def translated() -> Iterator[None]:
    """Turn the library's errors into ours: a broken constraint is a lost race, the rest a database in trouble."""
    try:
        yield
    except apsw.ConstraintError as error:
        raise Conflict("another write was first", reason="constraint") from error
    except UNUSABLE as error:
        if getattr(error, "extendedresult", 0) in NO_SPACE:
            words = "the control plane's disk is full: free some space there; it goes on by itself"
            raise DiskFull(words, retry_after_s=RETRY_S) from error
        raise Unavailable(f"the database cannot be used: {error}", reason="database_failed") from error


class SqliteStore(SqlStore):
    """One file, one process. `inline` runs without threads and takes `:memory:` too."""

    def __init__(
        self,
        path: str | Path,
        bus: Bus,
        *,
        inline: bool = False,
        clock: Callable[[], float] | None = None,
        seals: Seals | None = None,
    ) -> None:
        super().__init__(bus, inline=inline, clock=clock, seals=seals)
        self._path = str(path)
        self._lock = -1
        self._checkpointer: Checkpointer | None = None
        if self._path == MEMORY and not inline:
            raise StartError("a database in memory needs inline mode: each connection would get its own")

    def prepare(self) -> Session:
        """Raise StartError with one line that names the file and says what to do."""
        try:
            self._claim()
            with explained(self._path):
                connection = opened(self._path)
            self._note_made()
            if not self._inline:
                self._checkpointer = Checkpointer(self._path)
                self._checkpointer.start(connection)
            return SqliteSession(connection)
        except BaseException:
            self._release()
            raise

    def connect(self) -> Session:
        with translated():
            connection = apsw.Connection(self._path, flags=apsw.SQLITE_OPEN_READWRITE)
            connection.set_busy_timeout(BUSY_MS)
            # Folding the log into the database is for the writer and its checkpointer.
            for pragma in ("query_only=ON", "wal_autocheckpoint=0"):
                connection.pragma(*pragma.split("="))
        return SqliteSession(connection)

    async def close(self) -> None:
        if self._checkpointer is not None:
            await asyncio.to_thread(self._checkpointer.stop)
            self._checkpointer = None
        await super().close()
        self._release()

    def _claim(self) -> None:
        """Hold a lock beside the file for as long as it is open: a second control plane is a mistake."""
        if self._path == MEMORY:
            return
        try:
            os.close(os.open(self._path, FILE_FLAGS, 0o600))
            self._lock = os.open(f"{self._path}.lock", FILE_FLAGS, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.pread(self._lock, 1, 0) and not Path(self._path).stat().st_size:
                raise StartError(damaged(self._path, "it is empty and was not"), reason="database_damaged")
        except BlockingIOError:
            raise StartError(f"{self._path} is in use by another control plane; stop that one first") from None
        except OSError as error:
            raise StartError(f"{self._path} cannot be opened: {error.strerror}") from None

    def _note_made(self) -> None:
        """From now on an empty file is one that lost all it had; the library would take it for a new one."""
        if self._lock >= 0:
            os.pwrite(self._lock, b"1", 0)

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def opened(path: str) -> apsw.Connection:
    """Open, check and migrate; the connection that comes back is the one that writes."""
    if apsw.SQLITE_VERSION_NUMBER < OLDEST_LIBRARY:
        raise StartError(f"apsw brings SQLite {apsw.sqlite_lib_version()}, which can lose writes; install a newer apsw")
    database = APSWDatabase(path, timeout=BUSY_MS / 1000)
    connection: apsw.Connection = database.connection()
    try:
        check(connection, path)
        # Marked first: a start that is cut off below must know its own file again.
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("journal_mode", "WAL")
        connection.pragma("synchronous", "FULL")
        connection.pragma("journal_size_limit", LOG_BYTES)
        # The migration runner dates its steps; nothing of ours binds anything but plain values.
        connection.convert_binding = lambda _cursor, _number, value: str(value)
        migrate(database)
        connection.convert_binding = None
    except BaseException:
        connection.close()
        raise
    return connection


def check(connection: apsw.Connection, path: str) -> None:
    """Refuse a file of another program, and one whose pages do not fit together."""
    owner = connection.pragma("application_id")
    known = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if known and owner != APPLICATION_ID:
        raise StartError(f"{path} is a database of another program; name another file or move this one away")
    verdict = connection.pragma("integrity_check", 1)
    if verdict != "ok":
        raise StartError(damaged(path, str(verdict)), reason="database_damaged")


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what the library says of a file that it cannot open into one line."""
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise StartError(damaged(path, str(error)), reason="database_damaged") from error
    except (apsw.Error, PeeweeException) as error:
        raise StartError(f"{path} cannot be opened: {error}; check the disk and the file's permissions") from error


def damaged(path: str, detail: str) -> str:
    first = detail.strip().splitlines()[-1]
    return f"{path} is damaged or no database ({first}); move it away and restore a backup"
