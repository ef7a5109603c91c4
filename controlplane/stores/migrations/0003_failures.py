"""Failed attempts, one row each, and a short way to the dead letters."""

from __future__ import annotations

from peewee import SQL, Database, DoubleField, IntegerField, Model, TextField


class TicketTable(Model):
    """Only what the new index is about; the table is there already."""

    tenant_id = TextField()
    number = IntegerField()

    class Meta:
        table_name = "ticket"


class FailureTable(Model):
    attempt_id = TextField(primary_key=True)
    ticket_id = TextField(index=True)
    cause = TextField()
    fault = TextField()
    host_id = TextField()
    agent = TextField()
    at = DoubleField(index=True)
    delay_s = DoubleField(null=True)

    class Meta:
        table_name = "failure"


TicketTable.add_index(
    TicketTable.index(TicketTable.tenant_id, TicketTable.number, where=SQL("dead_letter"), name="ticket_dead_letter")
)
TABLES: tuple[type[Model], ...] = (TicketTable, FailureTable)


def up(_migrator: object, database: Database) -> None:
    with database.bind_ctx(TABLES):
        database.create_tables(TABLES)
