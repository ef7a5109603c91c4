"""Whose audit rows are, and their seals. What is there already is sealed at the start, by whom has the key."""

from __future__ import annotations

from typing import Any

from peewee import TextField


def up(migrator: Any, database: Any) -> None:
    columns = {name: TextField(default="") for name in ("tenant_id", "user_id", "key", "mac")}
    migrator.migrate(*(migrator.add_column("audit", name, each) for name, each in columns.items()))
    # There was but one tenant.
    database.execute_sql("UPDATE audit SET tenant_id = 'default' WHERE principal NOT LIKE 'host:%'")
    migrator.migrate(migrator.add_index("audit", ("tenant_id", "seq")), migrator.add_index("audit", ("request_id",)))
