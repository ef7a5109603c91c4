"""The inbox of the caller, and where the caller wants to be told of what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controlplane.domain.call import Call
from controlplane.domain.event import NewEvent
from controlplane.domain.notification import Channel, Kind, Notification, Preferences, topic_of
from controlplane.domain.user import refused
from controlplane.errors import FailedPrecondition, NotFound
from controlplane.identity import Seal
from controlplane.notices import Webhook
from controlplane.ports import Page, Reader, Tx
from controlplane.usecases.accounts.me import account


@dataclass(frozen=True, slots=True)
class Notices:
    """What this deployment can tell people with; `mails` is whether it sends any."""

    seal: Seal
    webhook: Webhook
    mails: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for. `slack` None: as it was; empty: no webhook."""

    channels: Mapping[Kind, frozenset[Channel]]
    slack: str | None = None


def get_preferences(reader: Reader, call: Call) -> Preferences:
    return reader.preferences(account(reader, call).id)


def set_preferences(tx: Tx, notices: Notices, call: Call, wish: Wish) -> Preferences:
    """Replaces them. InvalidInput for a channel that leads nowhere."""
    user = account(tx, call)
    after = replace(tx.preferences(user.id), channels=wish.channels)
    if wish.slack is not None:
        if wish.slack:
            notices.webhook.check(wish.slack)
        after = replace(after, slack=wish.slack and notices.seal.seal(wish.slack, context(user.id)), slack_fault="")
    chosen = frozenset[Channel]().union(*wish.channels.values())
    if Channel.EMAIL in chosen and not notices.mails:
        raise FailedPrecondition("this deployment sends no mail: set SWARM_SMTP_URL", reason="mail_not_configured")
    if Channel.SLACK in chosen and not after.slack:
        raise refused("/preferences/slack_webhook_url", "is needed to be told by Slack")
    tx.save_preferences(user.id, after)
    return after


def context(user_id: str) -> str:
    """What a sealed webhook is bound to."""
    return f"slack:{user_id}"


def list_notifications(reader: Reader, call: Call, page: Page, *, unread: bool) -> tuple[list[Notification], str, int]:
    """Newest first, with the token of the next page and how many are unread in all."""
    user = account(reader, call)
    found, token = reader.notifications(user.id, page, unread=unread)
    return found, token, reader.unread(user.id)


def mark_read(tx: Tx, call: Call, ident: str) -> Notification:
    user = account(tx, call)
    found = tx.notification(user.id, ident)
    if found is None:
        raise NotFound(f"there is no notification {ident}")
    return replace(found, read_at=call.now) if _mark(tx, call, user.id, ident) else found


def mark_all_read(tx: Tx, call: Call) -> int:
    return _mark(tx, call, account(tx, call).id, "")


def _mark(tx: Tx, call: Call, user_id: str, ident: str) -> int:
    """Other windows of the same person are told."""
    count = tx.mark_read(user_id, call.now, ident)
    if count:
        tx.add_events([NewEvent(topic_of(user_id), "notification.read", {"id": ident, "count": count})], call.now)
    return count
