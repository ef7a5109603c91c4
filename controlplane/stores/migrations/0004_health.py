"""When VMs stopped, so that their records can go some day, and what cleanups did."""

from __future__ import annotations

import time
from typing import Any

from peewee import AutoField, DoubleField, Model, TextField


class CleanupRunTable(Model):
    id = AutoField()
    host_id = TextField(index=True)
    started_at = DoubleField()
    run = TextField()

    class Meta:
        table_name = "cleanup_run"


def up(migrator: Any, database: Any) -> None:
    migrator.migrate(migrator.add_column("vm", "stopped_at", DoubleField(null=True, index=True)))
    # Nobody wrote down when the earlier ones stopped: they are kept as long as those that stop now.
    database.execute_sql("UPDATE vm SET stopped_at = ? WHERE state = 'stopped'", (time.time(),))
    with database.bind_ctx((CleanupRunTable,)):
        database.create_tables((CleanupRunTable,))
