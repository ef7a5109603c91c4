"""Tenants, users, their second factors and the accounts elsewhere that log them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from controlplane.domain.call import Role
from controlplane.domain.tenant import Tenant
from controlplane.domain.user import OauthLink, User
from controlplane.errors import AlreadyExists, Conflict
from controlplane.identity import TOPIC
from controlplane.ports import Page
from controlplane.stores import statements
from controlplane.stores.account_tables import OauthLinkTable, RecoveryCodeTable, TenantTable, UserTable
from controlplane.stores.session import Row
from controlplane.stores.unit import Unit

INSERT_TENANT: Final = statements.insert(TenantTable)
SELECT_TENANT: Final = statements.select(TenantTable, "id = ?")
UPDATE_TENANT: Final = statements.update(TenantTable, ("name", "disabled_at"), ("id",))
INSERT_USER: Final = statements.insert(UserTable)
SELECT_USER: Final = statements.select(UserTable, "id = ?")
SELECT_USER_BY_EMAIL: Final = statements.select(UserTable, "email = ?")
SELECT_USER_OF: Final = statements.select(UserTable, "tenant_id = ? AND id = ?")
CHANGED: Final = ("email", "name", "role", "password", "disabled_at", "totp", "totp_at")
UPDATE_USER: Final = statements.update(UserTable, CHANGED, ("id",))
TAKE_STEP: Final = "UPDATE person SET totp_step = ? WHERE id = ? AND totp_step < ?"
INSERT_CODE: Final = statements.insert_new(RecoveryCodeTable)
COUNT_CODES: Final = "SELECT count(*) FROM recovery_code WHERE user_id = ?"
DELETE_CODES: Final = "DELETE FROM recovery_code WHERE user_id = ?"
TAKE_CODE: Final = "DELETE FROM recovery_code WHERE user_id = ? AND digest = ?"
INSERT_LINK: Final = statements.insert(OauthLinkTable)
SELECT_LINK: Final = statements.select(OauthLinkTable, "provider = ? AND subject = ?")
SELECT_LINKS: Final = statements.select(OauthLinkTable, "user_id = ?", "ORDER BY provider, subject")


class AccountReads(Unit):
    def tenant(self, tenant_id: str) -> Tenant | None:
        return next((Tenant(*row) for row in self.session.rows(SELECT_TENANT, (tenant_id,))), None)

    def tenants(self, page: Page) -> tuple[list[Tenant], str]:
        query = TenantTable.select(TenantTable, TenantTable.id.alias("position"))
        return self.page(query, TenantTable.id, ("tenants",), page, lambda row: Tenant(*row))

    def user(self, user_id: str) -> User | None:
        return self._user(SELECT_USER, user_id)

    def user_by_email(self, email: str) -> User | None:
        return self._user(SELECT_USER_BY_EMAIL, email)

    def user_of(self, tenant_id: str, user_id: str) -> User | None:
        return self._user(SELECT_USER_OF, tenant_id, user_id)

    def users(self, tenant_id: str, page: Page) -> tuple[list[User], str]:
        query = UserTable.select(UserTable, UserTable.id.alias("position")).where(UserTable.tenant_id == tenant_id)
        return self.page(query, UserTable.id, ("users", tenant_id), page, to_user)

    def user_count(self) -> int:
        return int(self.session.rows("SELECT count(*) FROM person")[0][0])

    def recovery_codes(self, user_id: str) -> int:
        return int(self.session.rows(COUNT_CODES, (user_id,))[0][0])

    def oauth_link(self, provider: str, subject: str) -> OauthLink | None:
        return next((OauthLink(*row) for row in self.session.rows(SELECT_LINK, (provider, subject))), None)

    def oauth_links(self, user_id: str) -> list[OauthLink]:
        return [OauthLink(*row) for row in self.session.rows(SELECT_LINKS, (user_id,))]

    def _user(self, sql: str, *params: str) -> User | None:
        return next(map(to_user, self.session.rows(sql, params)), None)


class AccountWrites(AccountReads):
    def add_tenant(self, tenant: Tenant) -> None:
        if self.tenant(tenant.id):
            raise AlreadyExists(f"there is a tenant {tenant.id} already")
        self.session.change(INSERT_TENANT, ((tenant.id, tenant.name, tenant.created_at, tenant.disabled_at),))

    def save_tenant(self, tenant: Tenant) -> None:
        self.session.change(UPDATE_TENANT, ((tenant.name, tenant.disabled_at, tenant.id),))
        self.topics.add(TOPIC)

    def add_user(self, user: User) -> None:
        if self.user_by_email(user.email):
            raise AlreadyExists(f"there is a user {user.email} already")
        self.session.change(INSERT_USER, (user_row(user),))
        self.topics.add(TOPIC)

    def save_user(self, user: User) -> None:
        named = dict(zip(statements.columns(UserTable), user_row(user), strict=True))
        if not self.session.change(UPDATE_USER, ((*(named[name] for name in CHANGED), user.id),)):
            raise Conflict(f"there is no user {user.id} any more")
        self.topics.add(TOPIC)

    def take_totp_step(self, user_id: str, step: int) -> bool:
        return bool(self.session.change(TAKE_STEP, ((step, user_id, step),)))

    def set_recovery_codes(self, user_id: str, digests: Sequence[str]) -> None:
        self.session.change(DELETE_CODES, ((user_id,),))
        self.session.change(INSERT_CODE, [(user_id, digest) for digest in digests])

    def take_recovery_code(self, user_id: str, digest: str) -> bool:
        return bool(self.session.change(TAKE_CODE, ((user_id, digest),)))

    def add_oauth_link(self, link: OauthLink) -> None:
        self.session.change(INSERT_LINK, ((link.provider, link.subject, link.user_id, link.login, link.created_at),))


def user_row(user: User) -> Row:
    return (
        user.id,
        user.tenant_id,
        user.email,
        user.name,
        user.role.value,
        user.created_at,
        user.password,
        user.disabled_at,
        user.totp,
        user.totp_step,
        user.totp_at,
    )


def to_user(row: Row) -> User:
    named = dict(zip(statements.columns(UserTable), row, strict=True))
    return User(**{**named, "role": Role(named["role"])})
