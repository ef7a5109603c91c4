"""Brings a database to the schema of this version.

The one place that knows the migration runner, which has no types.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from peewee import Database
from playhouse.migrations import Runner

from controlplane.errors import StartError

FOLDER = Path(__file__).parent / "migrations"
HISTORY = "schema_migration"


def refuse_newer(steps: Iterable[str]) -> None:
    """Raise StartError when the history of a database names steps that this version does not know."""
    newer = sorted(set(steps) - {path.stem for path in FOLDER.glob("[0-9]*.py")})
    if newer:
        raise StartError(
            f"the database was written by a newer version of Swarm (it has {', '.join(newer)}); start that version",
            reason="newer_schema",
        )


def migrate(database: Database) -> None:
    """Apply what is missing, each step in a transaction. StartError when a newer version was here before."""
    runner = Runner(database, str(FOLDER), HISTORY)
    refuse_newer([step.name for step in runner.status() if step.path is None])
    runner.up()
