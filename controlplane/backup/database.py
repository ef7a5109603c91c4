"""Copies a database while it is written to, and tells whether a copy is sound."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from controlplane.domain.epoch import SETTING
from controlplane.errors import StartError
from controlplane.stores.schema import HISTORY, refuse_newer
from controlplane.stores.sqlite import APPLICATION_ID, BUSY_MS, translated
from controlplane.stores.unit import unpack

PAGES: Final = 512  # copied at a time
READ_BYTES: Final = 1 << 20

Tell = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Facts:
    """`schema` is the newest migration; `rows` by table."""

    schema: str
    epoch: int
    rows: dict[str, int]


def copy(source: Path, target: Path, tell: Tell) -> None:
    """Write `target` as of one moment of `source`, whatever is written to that meanwhile. DiskFull, Unavailable.

    The snapshot is pinned by a read transaction: without one, SQLite would begin anew after each commit of others.
    """
    with translated(), connected(source, apsw.SQLITE_OPEN_READWRITE) as old:
        old.pragma("query_only", "ON")
        old.pragma("wal_autocheckpoint", 0)
        old.execute("BEGIN")
        old.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - the first read pins the snapshot
        with connected(target, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE) as new:
            with new.backup("main", old, "main") as work:
                while not work.done:
                    work.step(PAGES)
                    tell(1 - work.remaining / max(1, work.page_count))
            # One file from now on: the copy has the original's journal mode.
            new.pragma("journal_mode", "DELETE")
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def examined(path: Path) -> Facts:
    """What is in a database that nobody has open; StartError when it is damaged, foreign or of a newer version."""
    try:
        with connected(path, apsw.SQLITE_OPEN_READONLY) as database:
            verdict = str(database.pragma("integrity_check", 1))
            if verdict != "ok":
                raise damaged(verdict)
            if database.pragma("application_id") != APPLICATION_ID:
                raise StartError("the backup holds a database of another program", reason="bad_backup")
            return facts(database)
    except apsw.Error as error:
        raise damaged(str(error)) from error


def facts(database: apsw.Connection) -> Facts:
    steps = [str(name) for (name,) in database.execute(f"SELECT name FROM {HISTORY} ORDER BY name")]  # noqa: S608
    refuse_newer(steps)
    epoch = database.execute("SELECT value FROM setting WHERE name = ?", (SETTING,)).get
    tables = [str(name) for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    rows = {name: int(database.execute(f'SELECT count(*) FROM "{name}"').get) for name in tables}  # noqa: S608
    return Facts(steps[-1] if steps else "", int(unpack(epoch)) if epoch else 0, rows)


def damaged(detail: str) -> StartError:
    first = detail.strip().splitlines()[-1]
    return StartError(f"the backup's database is damaged ({first})", reason="bad_backup")


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def connected(path: Path, flags: int) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(path), flags=flags)
    try:
        connection.set_busy_timeout(BUSY_MS)
        yield connection
    finally:
        connection.close()
