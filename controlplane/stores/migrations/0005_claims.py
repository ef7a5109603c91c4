"""Claims of external agents."""

from __future__ import annotations

from peewee import Database, DoubleField, IntegerField, Model, TextField


class ClaimTable(Model):
    attempt_id = TextField(primary_key=True)
    ticket_id = TextField()
    host_id = TextField()
    worker = TextField()
    principal = TextField()
    lease_s = DoubleField()
    created_at = DoubleField()
    request_key = TextField(null=True)
    request_hash = TextField()
    event_bytes = IntegerField()

    class Meta:
        table_name = "claim"
        indexes = ((("principal", "request_key"), True),)


def up(_migrator: object, database: Database) -> None:
    with database.bind_ctx((ClaimTable,)):
        database.create_tables((ClaimTable,))
