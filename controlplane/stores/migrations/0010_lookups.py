"""What a host holds, and what an outbox has to do next, is found without a look at all the rest."""

from __future__ import annotations

from typing import Any

from peewee import SQL, DoubleField, Model, TextField


class TicketTable(Model):
    host_id = TextField()

    class Meta:
        table_name = "ticket"


class EffectTable(Model):
    key = TextField(primary_key=True)
    kind = TextField()
    next_try = DoubleField(null=True)

    class Meta:
        table_name = "effect"


TicketTable.add_index(TicketTable.index(TicketTable.host_id, where=SQL("host_id > ''"), name="ticket_leased"))
EffectTable.add_index(
    EffectTable.index(
        EffectTable.kind,
        EffectTable.next_try,
        EffectTable.key,
        where=SQL("next_try IS NOT NULL"),
        name="effect_due",
    )
)
TABLES: tuple[type[Model], ...] = (TicketTable, EffectTable)


def up(migrator: Any, database: Any) -> None:
    migrator.migrate(migrator.drop_index("effect", "effecttable_next_try"))
    with database.bind_ctx(TABLES):
        database.create_tables(TABLES)  # they are there; their new indexes are not
