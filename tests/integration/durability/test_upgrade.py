"""A database of an older version, brought to the present one by a start."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from controlplane.stores import schema
from controlplane.stores.sqlite import opened
from tests.fakes.control import control_plane

FIRST: Final = 5  # migrations of the older version
ROWS: Final = 3

Tables = dict[str, list[str]]  # names of columns by table


@pytest.fixture
def database(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[apsw.Connection]:
    """As the older version left it, without rows."""
    home.mkdir()
    steps = home.parent / "steps"
    steps.mkdir()
    for step in sorted(schema.FOLDER.glob("0*.py"))[:FIRST]:
        shutil.copy(step, steps)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "FOLDER", steps)
        connection = opened(str(home / "controlplane.db"))
    yield connection
    connection.close()


def columns(database: apsw.Connection) -> dict[str, list[tuple[str, str]]]:
    """Name and type of each, by table."""
    names = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    tables = [name for (name,) in names if name != schema.HISTORY]
    info = {name: list(database.execute(f"PRAGMA table_info('{name}')")) for name in tables}
    return {table: [(name, kind) for _, name, kind, *_ in found] for table, found in info.items()}


def fill(database: apsw.Connection) -> None:
    for table, described in columns(database).items():
        for number in range(1, ROWS + 1):
            row = [value(name, kind, number) for name, kind in described]
            marks = ", ".join("?" * len(row))
            database.execute(f'INSERT INTO "{table}" VALUES ({marks})', row)  # noqa: S608 - our tables


def value(name: str, kind: str, number: int) -> Any:
    return {"TEXT": f"{name}-{number}", "BLOB": b"\0\xff"}.get(kind, number)


def content(database: apsw.Connection, tables: Tables) -> dict[str, Sequence[Any]]:
    return {
        table: sorted(database.execute(f'SELECT {", ".join(names)} FROM "{table}"'))  # noqa: S608 - our tables
        for table, names in tables.items()
    }


async def test_every_row_of_every_table_is_kept(home: Path, database: apsw.Connection) -> None:
    fill(database)
    tables = {table: [f'"{name}"' for name, _ in described] for table, described in columns(database).items()}
    before = content(database, tables)
    assert {len(rows) for rows in before.values()} == {ROWS}
    opened(str(home / "controlplane.db")).close()
    assert content(database, tables) == before


async def test_audit_rows_from_before_there_were_seals_are_sealed_at_the_start(
    home: Path, database: apsw.Connection
) -> None:
    for principal in ("admin", "host:local", "admin"):
        values = (1.5, "ticket.create", principal, "rq_1", '{"outcome":"ok"}')
        database.execute("INSERT INTO audit (time, action, principal, request_id, data) VALUES (?, ?, ?, ?, ?)", values)
    for _ in range(2):
        async with control_plane(home) as control, control.client() as client:
            verdict = await client.audit.verify([])
            assert verdict.sound, verdict.reason
            assert verdict.rows >= ROWS
            rows = [row async for row in client.audit.list()]
            assert [row.tenant_id for row in reversed(rows)][:ROWS] == ["default", "", "default"]


async def test_a_step_that_came_late_is_taken_after_newer_ones(
    home: Path, database: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for whoever runs from the main branch, where steps come in the order of their merges."""
    opened(str(home / "controlplane.db")).close()
    steps = home.parent / "more"
    shutil.copytree(schema.FOLDER, steps)
    (steps / "0005_late.py").write_text(
        'def up(_migrator, database):\n    database.execute_sql("CREATE TABLE late (id)")\n'
    )
    monkeypatch.setattr(schema, "FOLDER", steps)
    opened(str(home / "controlplane.db")).close()
    assert database.execute("SELECT count(*) FROM late").get == 0
