"""What a host holds is found without a look at what all others hold."""

from __future__ import annotations

from peewee import SQL, Database, Model, TextField


class TicketTable(Model):
    host_id = TextField()

    class Meta:
        table_name = "ticket"


TicketTable.add_index(TicketTable.index(TicketTable.host_id, where=SQL("host_id > ''"), name="ticket_leased"))


def up(_migrator: object, database: Database) -> None:
    with database.bind_ctx((TicketTable,)):
        database.create_tables((TicketTable,))  # it is there; the index is not
