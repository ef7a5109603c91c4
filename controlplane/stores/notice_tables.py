"""Tables of what people are told, of their pictures, and of what is counted for them."""

from __future__ import annotations

from peewee import BigIntegerField, BlobField, DoubleField, Model, TextField


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
    """`channels` is JSON: by kind a list of channels."""

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
    """By attempt what its agent said that it used; kept for good, unlike events."""

    attempt_id = TextField(primary_key=True)
    input_tokens = BigIntegerField()
    output_tokens = BigIntegerField()
    cost_usd = DoubleField()

    class Meta:
        table_name = "usage"


NOTICE_TABLES: tuple[type[Model], ...] = (NotificationTable, PreferencesTable, AvatarTable, UsageTable)
