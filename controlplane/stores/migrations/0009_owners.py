"""Whose VMs, agents and workflows are."""

from __future__ import annotations

from typing import Any

from peewee import TextField


def up(migrator: Any, database: Any) -> None:
    """Until now there was one tenant, to which everything belongs but what comes with Swarm."""
    columns = {"vm": "default", "agent": "", "workflow": ""}
    migrator.migrate(*(migrator.add_column(name, "tenant_id", TextField(default=who)) for name, who in columns.items()))
    for table in ("agent", "workflow"):
        database.execute_sql(f"UPDATE {table} SET tenant_id = 'default' WHERE NOT built_in")  # noqa: S608 - our tables
