"""Whose VMs are."""

from __future__ import annotations

from typing import Any

from peewee import TextField


def up(migrator: Any, database: Any) -> None:
    migrator.migrate(migrator.add_column("vm", "tenant_id", TextField(default="")))
    database.execute_sql(
        "UPDATE vm SET tenant_id = COALESCE("
        "(SELECT tenant_id FROM ticket WHERE ticket.id = json_extract(vm.facts, '$.ticket_id')), '')"
    )
