"""Whose VMs, agents and workflows are."""

from __future__ import annotations

from typing import Any

from peewee import TextField


def up(migrator: Any, database: Any) -> None:
    migrator.migrate(*(migrator.add_column(table, "tenant_id", TextField(default="")) for table in OWNED))
    database.execute_sql(
        "UPDATE vm SET tenant_id = COALESCE("
        "(SELECT tenant_id FROM ticket WHERE ticket.id = json_extract(vm.facts, '$.ticket_id')), '')"
    )
    # Until now there was one tenant.
    for table in ("agent", "workflow"):
        database.execute_sql(f"UPDATE {table} SET tenant_id = 'default' WHERE NOT built_in")  # noqa: S608 - our tables


OWNED = ("vm", "agent", "workflow")
