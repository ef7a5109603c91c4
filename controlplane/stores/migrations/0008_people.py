"""Notifications with where people want them, pictures of people, and what attempts used."""

from __future__ import annotations

from peewee import BigIntegerField, BlobField, Database, DoubleField, Model, TextField


class NotificationTable(Model):
    id = TextField(primary_key=True)
    user_id = TextField()
    kind = TextField()
    subject = TextField()
    title = TextField()
    text = TextField()
    created_at = DoubleField(index=True)
    read_at = DoubleField(null=True)

    class Meta:
        table_name = "notification"
        indexes = ((("user_id", "id"), False),)


class PreferencesTable(Model):
    user_id = TextField(primary_key=True)
    channels = TextField()
    slack = TextField()
    slack_fault = TextField()

    class Meta:
        table_name = "notification_preferences"


class AvatarTable(Model):
    user_id = TextField(primary_key=True)
    image = BlobField()
    type = TextField()
    updated_at = DoubleField()

    class Meta:
        table_name = "avatar"


class UsageTable(Model):
    attempt_id = TextField(primary_key=True)
    input_tokens = BigIntegerField()
    output_tokens = BigIntegerField()
    cost_usd = DoubleField()

    class Meta:
        table_name = "usage"


TABLES = (NotificationTable, PreferencesTable, AvatarTable, UsageTable)


def up(_migrator: object, database: Database) -> None:
    with database.bind_ctx(TABLES):
        database.create_tables(TABLES)
