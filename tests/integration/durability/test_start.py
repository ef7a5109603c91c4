"""A database that cannot be used ends the start with one line, whatever is wrong with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from controlplane.events.bus import LocalBus
from controlplane.stores.sqlite import SqliteStore
from swarm_sdk import TicketSpec
from tests.fakes.control import control_plane

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    env = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)


def truncated(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:-5000])


def scribbled(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[8192:12288] = b"\x5a" * 4096
    database.write_bytes(content)


def emptied(database: Path) -> None:
    database.write_bytes(b"")


def replaced(database: Path) -> None:
    database.write_bytes(b"no database " * 1000)


def newer(database: Path) -> None:
    connection = apsw.Connection(str(database))
    connection.execute("INSERT INTO schema_migration (name, applied) VALUES ('0999_later', '2030-01-01 00:00:00')")
    connection.close()


def foreign(database: Path) -> None:
    database.unlink()
    connection = apsw.Connection(str(database))
    connection.execute("CREATE TABLE ticket (id)")
    connection.close()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncated, "restore a backup"),
        (scribbled, "restore a backup"),
        (emptied, "restore a backup"),
        (replaced, "restore a backup"),
        (newer, "newer version of Swarm"),
        (foreign, "another program"),
    ],
)
async def test_what_is_wrong_is_one_line(home: Path, damage: Callable[[Path], None], words: str) -> None:
    async with control_plane(home) as control, control.client() as client:
        await client.tickets.create_all([TicketSpec(title="x" * 200) for _ in range(20)], hold=True)
    damage(home / "controlplane.db")
    done = await asyncio.to_thread(run, "-m", "controlplane", "--state-dir", str(home))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert words in done.stderr


async def test_a_log_that_was_not_folded_in_is_read(home: Path, tmp_path: Path) -> None:
    """As after a crash: the database, its log and the key of its audit rows, copied while nobody writes."""
    async with control_plane(home) as control, control.client() as client:
        made = await client.tickets.create(TicketSpec(title="x"), hold=True)
        (tmp_path / "s").mkdir()
        for name in ("controlplane.db", "controlplane.db-wal", "audit.key"):
            shutil.copy(home / name, tmp_path / "s")
        assert (tmp_path / "s/controlplane.db-wal").stat().st_size
    async with control_plane(tmp_path / "s") as control, control.client() as client:
        assert [each.id for each in await client.tickets.list()] == [made.id]


KILLED = """
import os, signal
def up(_migrator, database):
    database.execute_sql("CREATE TABLE half (id)")
    os.kill(os.getpid(), signal.SIGKILL)
"""
MIGRATE = """
import asyncio, pathlib, sys
from controlplane.events.bus import LocalBus
from controlplane.stores import schema
from controlplane.stores.sqlite import SqliteStore
schema.FOLDER = pathlib.Path(sys.argv[2])
asyncio.run(SqliteStore(sys.argv[1], LocalBus()).open())
"""


async def test_a_killed_migration_leaves_no_trace(tmp_path: Path) -> None:
    path, steps = tmp_path / "a.db", tmp_path / "steps"
    store = SqliteStore(path, LocalBus())
    await store.open()
    await store.close()
    steps.mkdir()
    for step in (ROOT / "controlplane/stores/migrations").glob("0*.py"):
        (steps / step.name).write_text(step.read_text())
    (steps / "9999_killed.py").write_text(KILLED)
    done = await asyncio.to_thread(run, "-c", MIGRATE, str(path), str(steps))
    assert done.returncode == -signal.SIGKILL
    again = SqliteStore(path, LocalBus())
    await again.open()
    await again.close()
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").get == 0
    connection.close()
