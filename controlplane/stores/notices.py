"""What people are told, where they want it, and their pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

from controlplane.domain.avatar import Avatar
from controlplane.domain.call import Role
from controlplane.domain.notification import Channel, Kind, Notice, Notification, Preferences, Recipient
from controlplane.ports import Page
from controlplane.stores import statements
from controlplane.stores.notice_tables import AvatarTable, NotificationTable, PreferencesTable
from controlplane.stores.session import Row
from controlplane.stores.tokens import page_size
from controlplane.stores.unit import Unit, pack, unpack

SELECT_RECIPIENTS: Final = (
    "SELECT person.id, person.email, person.role, preferred.channels, preferred.slack, preferred.slack_fault"
    " FROM person JOIN tenant ON tenant.id = person.tenant_id"
    " LEFT JOIN notification_preferences AS preferred ON preferred.user_id = person.id"
    " WHERE person.tenant_id = ? AND person.disabled_at IS NULL AND tenant.disabled_at IS NULL ORDER BY person.id"
)
SELECT_PREFERENCES: Final = "SELECT channels, slack, slack_fault FROM notification_preferences WHERE user_id = ?"
UPSERT_PREFERENCES: Final = statements.upsert(PreferencesTable, "user_id")
INSERT_NOTIFICATION: Final = statements.insert(NotificationTable)
SELECT_NOTIFICATION: Final = statements.select(NotificationTable, "user_id = ? AND id = ?")
NEWEST: Final = "ORDER BY id DESC LIMIT ?"
SELECT_PAGE: Final = statements.select(NotificationTable, "user_id = ? AND (? = '' OR id < ?)", NEWEST)
SELECT_UNREAD: Final = statements.select(
    NotificationTable, "user_id = ? AND (? = '' OR id < ?) AND read_at IS NULL", NEWEST
)
COUNT_UNREAD: Final = "SELECT count(*) FROM notification WHERE user_id = ? AND read_at IS NULL"
MARK_ONE: Final = "UPDATE notification SET read_at = ? WHERE user_id = ? AND id = ? AND read_at IS NULL"
MARK_ALL: Final = "UPDATE notification SET read_at = ? WHERE user_id = ? AND read_at IS NULL"
FORGET: Final = (
    "DELETE FROM notification WHERE created_at < ?",
    "DELETE FROM event WHERE topic >= 'user:' AND topic < 'user;' AND time < ?",
)
UPSERT_AVATAR: Final = statements.upsert(AvatarTable, "user_id")
SELECT_AVATAR: Final = "SELECT image, type, updated_at FROM avatar WHERE user_id = ?"
DELETE_AVATAR: Final = "DELETE FROM avatar WHERE user_id = ?"


class NoticeReads(Unit):
    def recipients(self, tenant_id: str) -> list[Recipient]:
        # Of nothing here a write is ever put off, so that what others put off may stay so.
        rows = self.raw.rows(SELECT_RECIPIENTS, (tenant_id,))
        return [Recipient(user, email, Role(role), to_preferences(rest)) for user, email, role, *rest in rows]

    def preferences(self, user_id: str) -> Preferences:
        return next(map(to_preferences, self.session.rows(SELECT_PREFERENCES, (user_id,))), Preferences())

    def notification(self, user_id: str, ident: str) -> Notification | None:
        return next(map(to_notification, self.session.rows(SELECT_NOTIFICATION, (user_id, ident))), None)

    def notifications(self, user_id: str, page: Page, *, unread: bool) -> tuple[list[Notification], str]:
        scope = ("notifications", user_id, unread)
        after = self.tokens.read(json.dumps(scope), page.token) if page.token else ""
        sql = SELECT_UNREAD if unread else SELECT_PAGE
        found = self.session.rows(sql, (user_id, after, after, page_size(page.size) + 1))
        return self.cut([(*row, row[0]) for row in found], scope, page, to_notification)

    def unread(self, user_id: str) -> int:
        return int(self.session.rows(COUNT_UNREAD, (user_id,))[0][0])

    def avatar(self, user_id: str) -> Avatar | None:
        found = self.session.rows(SELECT_AVATAR, (user_id,))
        return next((Avatar(bytes(image), kind, updated_at) for image, kind, updated_at in found), None)


class NoticeWrites(NoticeReads):
    def save_preferences(self, user_id: str, preferences: Preferences) -> None:
        channels = {kind: sorted(chosen) for kind, chosen in preferences.channels.items()}
        row = (user_id, pack(channels), preferences.slack, preferences.slack_fault)
        self.session.change(UPSERT_PREFERENCES, (row,))

    def add_notifications(self, notifications: Sequence[Notification]) -> None:
        rows = [(each.id, each.user_id, *astuple(each.notice), each.created_at, each.read_at) for each in notifications]
        self.session.change(INSERT_NOTIFICATION, rows)

    def mark_read(self, user_id: str, now: float, ident: str = "") -> int:
        if ident:
            return self.session.change(MARK_ONE, ((now, user_id, ident),))
        return self.session.change(MARK_ALL, ((now, user_id),))

    def forget_notifications(self, before: float) -> None:
        for statement in FORGET:
            self.session.change(statement, ((before,),))

    def save_avatar(self, user_id: str, avatar: Avatar) -> None:
        self.session.change(UPSERT_AVATAR, ((user_id, avatar.image, avatar.type, avatar.updated_at),))

    def drop_avatar(self, user_id: str) -> bool:
        return bool(self.session.change(DELETE_AVATAR, ((user_id,),)))


def to_preferences(row: Sequence[object]) -> Preferences:
    """Of somebody who never said anything the row is empty."""
    packed, slack, fault = row
    if packed is None:
        return Preferences()
    channels = {Kind(kind): frozenset(map(Channel, chosen)) for kind, chosen in unpack(str(packed)).items()}
    return Preferences(channels, str(slack), str(fault))


def to_notification(row: Row) -> Notification:
    ident, user_id, kind, subject, title, text, created_at, read_at = row
    return Notification(ident, user_id, Notice(Kind(kind), subject, title, text), created_at, read_at)
