"""Accounts: tenants, users, their logins, keys and second factors."""

from __future__ import annotations

import time

from peewee import CompositeKey, Database, DoubleField, IntegerField, Model, TextField


class TenantTable(Model):
    id = TextField(primary_key=True)
    name = TextField()
    created_at = DoubleField()
    disabled_at = DoubleField(null=True)

    class Meta:
        table_name = "tenant"


class UserTable(Model):
    id = TextField(primary_key=True)
    tenant_id = TextField(index=True)
    email = TextField(unique=True)
    name = TextField()
    role = IntegerField()
    created_at = DoubleField()
    password = TextField()
    disabled_at = DoubleField(null=True)
    totp = TextField()
    totp_step = IntegerField()
    totp_at = DoubleField(null=True)

    class Meta:
        table_name = "person"  # "user" is a word of SQL


class RecoveryCodeTable(Model):
    user_id = TextField()
    digest = TextField()

    class Meta:
        table_name = "recovery_code"
        primary_key = CompositeKey("user_id", "digest")


class OauthLinkTable(Model):
    provider = TextField()
    subject = TextField()
    user_id = TextField(index=True)
    login = TextField()
    created_at = DoubleField()

    class Meta:
        table_name = "oauth_link"
        primary_key = CompositeKey("provider", "subject")


class LoginTable(Model):
    id = TextField(primary_key=True)
    user_id = TextField(index=True)
    tenant_id = TextField()
    method = TextField()
    user_agent = TextField()
    address = TextField()
    created_at = DoubleField()
    used_at = DoubleField()
    expires_at = DoubleField(index=True)
    revoked_at = DoubleField(null=True, index=True)

    class Meta:
        table_name = "login"


class RefreshTokenTable(Model):
    digest = TextField(primary_key=True)
    login_id = TextField(index=True)
    created_at = DoubleField()
    used_at = DoubleField(null=True, index=True)

    class Meta:
        table_name = "refresh_token"


class ApiKeyTable(Model):
    id = TextField(primary_key=True)
    user_id = TextField(index=True)
    tenant_id = TextField()
    name = TextField()
    digest = TextField(unique=True)
    hint = TextField()
    scopes = TextField()
    created_at = DoubleField()
    expires_at = DoubleField(null=True)
    used_at = DoubleField(null=True)
    revoked_at = DoubleField(null=True)

    class Meta:
        table_name = "api_key"


class OneTimeTokenTable(Model):
    digest = TextField(primary_key=True)
    purpose = TextField()
    subject = TextField(index=True)
    expires_at = DoubleField(index=True)
    data = TextField()

    class Meta:
        table_name = "one_time_token"


class GuessTable(Model):
    subject = TextField(primary_key=True)
    count = IntegerField()
    last_at = DoubleField(index=True)
    locked_until = DoubleField()

    class Meta:
        table_name = "guess"


TABLES = (
    TenantTable,
    UserTable,
    RecoveryCodeTable,
    OauthLinkTable,
    LoginTable,
    RefreshTokenTable,
    ApiKeyTable,
    OneTimeTokenTable,
    GuessTable,
)


def up(_migrator: object, database: Database) -> None:
    with database.bind_ctx(TABLES):
        database.create_tables(TABLES)
        TenantTable.insert(id="default", name="Default", created_at=time.time()).execute()
