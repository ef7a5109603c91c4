"""What notifications and pictures of people need of the outside, as protocols: rows, Slack, and decoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from controlplane.domain.avatar import Avatar
from controlplane.domain.notification import Notification, Preferences, Recipient


class NoticeReader(Protocol):
    """What `ports.Reader` reads of notifications and pictures."""

    def recipients(self, tenant_id: str) -> list[Recipient]: ...  # who may log in
    def preferences(self, user_id: str) -> Preferences: ...
    def notification(self, user_id: str, ident: str) -> Notification | None: ...
    def unread(self, user_id: str) -> int: ...  # in the whole inbox
    def avatar(self, user_id: str) -> Avatar | None: ...


class NoticeTx(NoticeReader, Protocol):
    """What `ports.Tx` writes."""

    def save_preferences(self, user_id: str, preferences: Preferences) -> None: ...
    def add_notifications(self, notifications: Sequence[Notification]) -> None: ...
    def mark_read(self, user_id: str, now: float, ident: str = "") -> int: ...  # one or all; how many were unread
    def forget_notifications(self, before: float) -> None: ...  # and the events of their topics
    def save_avatar(self, user_id: str, avatar: Avatar) -> None: ...  # insert or update
    def drop_avatar(self, user_id: str) -> bool: ...  # whether there was one


class Webhook(Protocol):
    """Posts to an incoming webhook of Slack."""

    def check(self, url: str) -> None:
        """InvalidInput for a URL that is never called."""
        ...

    async def post(self, url: str, text: str) -> None:
        """FailedPrecondition when it is refused for good, RateLimited or Unavailable when a later try may succeed."""
        ...


class Pictures(Protocol):
    async def square(self, content: bytes) -> tuple[bytes, str]:
        """The picture as it is kept, and its type. InvalidInput for what is none."""
        ...
