from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest
from playhouse.apsw_ext import APSWDatabase
from playhouse.schema_diff import diff_models

from controlplane.events.bus import LocalBus
from controlplane.stores import schema
from controlplane.stores.sqlite import SqliteStore
from controlplane.stores.tables import TABLES

BROKEN = """
def up(_migrator, database):
    database.execute_sql("CREATE TABLE half (id)")
    raise RuntimeError("half way")
"""


async def opened(path: Path) -> None:
    store = SqliteStore(path, LocalBus())
    await store.open()
    await store.close()


async def test_the_migrations_make_the_tables_as_they_are_described(tmp_path: Path) -> None:
    await opened(tmp_path / "a.db")
    database = APSWDatabase(str(tmp_path / "a.db"))
    difference = diff_models(database, list(TABLES))
    database.close()
    assert not difference, str(difference)


async def test_a_step_that_fails_half_way_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, steps = tmp_path / "a.db", tmp_path / "steps"
    shutil.copytree(schema.FOLDER, steps)
    (steps / "9999_broken.py").write_text(BROKEN)
    monkeypatch.setattr(schema, "FOLDER", steps)
    with pytest.raises(RuntimeError, match="half way"):
        await opened(path)
    monkeypatch.undo()
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").get == 0
    connection.close()
    await opened(path)
