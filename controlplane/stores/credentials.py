"""Logins, refresh tokens, API keys, one-time tokens and wrong guesses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Final

from controlplane.domain import guess, lifetimes
from controlplane.domain.apikey import ApiKey
from controlplane.domain.call import Role
from controlplane.domain.credential import OneTimeToken, Purpose
from controlplane.domain.guess import Guesses
from controlplane.domain.login import Login, RefreshToken
from controlplane.domain.standing import Member, Standing
from controlplane.identity import NOT_BEFORE, TOPIC
from controlplane.stores import statements
from controlplane.stores.account_tables import (
    ApiKeyTable,
    GuessTable,
    LoginTable,
    OneTimeTokenTable,
    RefreshTokenTable,
)
from controlplane.stores.journal import SELECT_SETTING
from controlplane.stores.session import Row
from controlplane.stores.unit import Unit, pack, unpack

INSERT_LOGIN: Final = statements.insert(LoginTable)
SELECT_LOGIN: Final = statements.select(LoginTable, "id = ?")
SELECT_LOGINS: Final = statements.select(
    LoginTable, "user_id = ? AND revoked_at IS NULL AND expires_at > ?", "ORDER BY id DESC"
)
UPDATE_LOGIN: Final = statements.update(LoginTable, ("user_agent", "address", "used_at", "expires_at"), ("id",))
REVOKE_LOGIN: Final = "UPDATE login SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
REVOKE_LOGINS: Final = "UPDATE login SET revoked_at = ? WHERE user_id = ? AND id <> ? AND revoked_at IS NULL"
INSERT_REFRESH: Final = statements.insert(RefreshTokenTable)
SELECT_REFRESH: Final = statements.select(RefreshTokenTable, "digest = ?")
TAKE_REFRESH: Final = "UPDATE refresh_token SET used_at = ? WHERE digest = ? AND used_at IS NULL"
INSERT_KEY: Final = statements.insert(ApiKeyTable)
SELECT_KEY: Final = statements.select(ApiKeyTable, "user_id = ? AND id = ?")
SELECT_KEYS: Final = statements.select(ApiKeyTable, "user_id = ? AND revoked_at IS NULL", "ORDER BY id DESC")
REVOKE_KEY: Final = "UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
KEY_USED: Final = "UPDATE api_key SET used_at = ? WHERE id = ?"
INSERT_ONE_TIME: Final = statements.insert(OneTimeTokenTable)
SELECT_ONE_TIME: Final = statements.select(OneTimeTokenTable, "digest = ? AND purpose = ? AND expires_at > ?")
TAKE_ONE_TIME: Final = "DELETE FROM one_time_token WHERE digest = ?"
DROP_ONE_TIME: Final = "DELETE FROM one_time_token WHERE purpose = ? AND subject = ?"
UPSERT_GUESSES: Final = statements.upsert(GuessTable, "subject")
FORGET_GUESSES: Final = "DELETE FROM guess WHERE subject = ?"
SELECT_MEMBERS: Final = (
    "SELECT person.id, person.tenant_id, person.role FROM person JOIN tenant ON tenant.id = person.tenant_id"
    " WHERE person.disabled_at IS NULL AND tenant.disabled_at IS NULL"
)
SELECT_STANDING_KEYS: Final = statements.select(
    ApiKeyTable, "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"
)
SELECT_REVOKED: Final = "SELECT id FROM login WHERE revoked_at > ?"
# What goes when, by the time before which it is forgotten.
FORGET: Final = (
    ("DELETE FROM one_time_token WHERE expires_at < ?", 0.0),
    ("DELETE FROM guess WHERE last_at < ?", guess.FORGOTTEN_AFTER),
    ("DELETE FROM login WHERE revoked_at < ?", lifetimes.DAY),
    ("DELETE FROM login WHERE expires_at < ?", lifetimes.DAY),
    ("DELETE FROM refresh_token WHERE used_at < ?", lifetimes.USED_REFRESH),
)
FORGET_ORPHANS: Final = "DELETE FROM refresh_token WHERE login_id NOT IN (SELECT id FROM login)"


class CredentialReads(Unit):
    def login(self, login_id: str) -> Login | None:
        return next((Login(*row) for row in self.session.rows(SELECT_LOGIN, (login_id,))), None)

    def logins(self, user_id: str, now: float) -> list[Login]:
        return [Login(*row) for row in self.session.rows(SELECT_LOGINS, (user_id, now))]

    def refresh_token(self, digest: str) -> RefreshToken | None:
        return next((RefreshToken(*row) for row in self.session.rows(SELECT_REFRESH, (digest,))), None)

    def api_key(self, user_id: str, key_id: str) -> ApiKey | None:
        return next(map(to_key, self.session.rows(SELECT_KEY, (user_id, key_id))), None)

    def api_keys(self, user_id: str) -> list[ApiKey]:
        return [to_key(row) for row in self.session.rows(SELECT_KEYS, (user_id,))]

    def one_time_token(self, purpose: Purpose, digest: str, now: float) -> OneTimeToken | None:
        return next(map(to_token, self.session.rows(SELECT_ONE_TIME, (digest, purpose.value, now))), None)

    def guesses(self, subjects: Sequence[str]) -> list[Guesses]:
        if not subjects:
            return []
        sql = statements.select(GuessTable, statements.within("subject", len(subjects)))
        return [Guesses(*row) for row in self.session.rows(sql, subjects)]

    def standing(self, now: float) -> Standing:
        members = (Member(ident, tenant, Role(role)) for ident, tenant, role in self.session.rows(SELECT_MEMBERS))
        keys = map(to_key, self.session.rows(SELECT_STANDING_KEYS, (now,)))
        revoked = self.session.rows(SELECT_REVOKED, (now - 2 * lifetimes.ACCESS,))
        voided = self.session.rows(SELECT_SETTING, (NOT_BEFORE,))
        return Standing(
            {member.user_id: member for member in members},
            {key.digest: key for key in keys},
            frozenset(ident for (ident,) in revoked),
            float(unpack(voided[0][0])) if voided else 0.0,
        )


class CredentialWrites(CredentialReads):
    def add_login(self, login: Login) -> None:
        self.session.change(INSERT_LOGIN, (astuple(login),))

    def save_login(self, login: Login) -> None:
        row = (login.user_agent, login.address, login.used_at, login.expires_at, login.id)
        self.session.change(UPDATE_LOGIN, (row,))

    def revoke_logins(self, user_id: str, now: float, *, but: str = "") -> int:
        self.topics.add(TOPIC)
        return self.session.change(REVOKE_LOGINS, ((now, user_id, but),))

    def revoke_login(self, login_id: str, now: float) -> bool:
        self.topics.add(TOPIC)
        return bool(self.session.change(REVOKE_LOGIN, ((now, login_id),)))

    def add_refresh_token(self, token: RefreshToken) -> None:
        self.session.change(INSERT_REFRESH, (astuple(token),))

    def take_refresh_token(self, digest: str, now: float) -> bool:
        return bool(self.session.change(TAKE_REFRESH, ((now, digest),)))

    def add_api_key(self, key: ApiKey) -> None:
        self.session.change(INSERT_KEY, (key_row(key),))
        self.topics.add(TOPIC)

    def revoke_api_key(self, key_id: str, now: float) -> None:
        self.session.change(REVOKE_KEY, ((now, key_id),))
        self.topics.add(TOPIC)

    def api_keys_used(self, used_at: Mapping[str, float]) -> None:
        self.session.change(KEY_USED, [(at, ident) for ident, at in used_at.items()])

    def add_one_time_token(self, token: OneTimeToken) -> None:
        row = (token.digest, token.purpose.value, token.subject, token.expires_at, token.data)
        self.session.change(INSERT_ONE_TIME, (row,))

    def take_one_time_token(self, purpose: Purpose, digest: str, now: float) -> OneTimeToken | None:
        found = self.one_time_token(purpose, digest, now)
        return found if found and self.session.change(TAKE_ONE_TIME, ((digest,),)) else None

    def drop_one_time_tokens(self, purpose: Purpose, subject: str) -> None:
        self.session.change(DROP_ONE_TIME, ((purpose.value, subject),))

    def save_guesses(self, guesses: Guesses) -> None:
        self.session.change(UPSERT_GUESSES, (astuple(guesses),))

    def forget_guesses(self, subjects: Sequence[str]) -> None:
        self.session.change(FORGET_GUESSES, [(subject,) for subject in subjects])

    def forget_credentials(self, now: float) -> None:
        for statement, age in FORGET:
            self.session.change(statement, ((now - age,),))
        self.session.rows(FORGET_ORPHANS)


def key_row(key: ApiKey) -> Row:
    return (
        key.id,
        key.user_id,
        key.tenant_id,
        key.name,
        key.digest,
        key.hint,
        pack(sorted(key.scopes)),
        key.created_at,
        key.expires_at,
        key.used_at,
        key.revoked_at,
    )


def to_key(row: Row) -> ApiKey:
    named = dict(zip(statements.columns(ApiKeyTable), row, strict=True))
    return ApiKey(**{**named, "scopes": frozenset(unpack(named["scopes"]))})


def to_token(row: Row) -> OneTimeToken:
    digest, purpose, subject, expires_at, data = row
    return OneTimeToken(digest, Purpose(purpose), subject, expires_at, data)
