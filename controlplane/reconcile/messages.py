"""What people are told by mail and by Slack. The outbox sends it: at least once, not for ever."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from controlplane.domain.user import User
from controlplane.errors import FailedPrecondition
from controlplane.identity import Mailer, Seal
from controlplane.notices import Webhook
from controlplane.ports import Reader, Store, Tx
from controlplane.usecases.accounts.parts import active
from controlplane.usecases.inbox import context

LONGEST_SUBJECT: Final = 200
FOOT: Final = "\n\n--\nYou choose what you are told, and where: `swarm notifications preferences`"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MailNotices:
    """`url` is where people reach this deployment."""

    mailer: Mailer
    url: str

    async def __call__(self, store: Store, key: str, payload: Mapping[str, Any]) -> None:
        user = await store.read(lambda reader: _recipient(reader, payload))
        if user is not None:
            title, text = _line(payload["title"]), f"{payload['title']}\n\n{payload['text']}\n\n{self.url}{FOOT}\n"
            try:
                await self.mailer.send(user.email, f"[Swarm] {title}", text, ident=key)
            except FailedPrecondition as fault:
                log.warning("mail %s is given up: %s", key, fault.message)
        await store.write(lambda tx: tx.effect_done(key, store.now()))


@dataclass(frozen=True, slots=True)
class SlackNotices:
    webhook: Webhook
    seal: Seal

    async def __call__(self, store: Store, key: str, payload: Mapping[str, Any]) -> None:
        user_id = str(payload["user_id"])
        sealed = await store.read(lambda reader: _webhook(reader, payload))
        fault = ""
        if sealed:
            try:
                await self.webhook.post(self.seal.open(sealed, context(user_id)), _slack(payload))
            except FailedPrecondition as refusal:
                fault = refusal.message
                log.warning("message %s to Slack is given up: %s", key, fault)

        def end(tx: Tx) -> None:
            tx.effect_done(key, store.now())
            preferences = tx.preferences(user_id)
            if sealed and preferences.slack == sealed and preferences.slack_fault != fault:
                tx.save_preferences(user_id, replace(preferences, slack_fault=fault))

        await store.write(end)


def _recipient(reader: Reader, payload: Mapping[str, Any]) -> User | None:
    return active(reader, reader.user(str(payload["user_id"])))


def _webhook(reader: Reader, payload: Mapping[str, Any]) -> str:
    user = _recipient(reader, payload)
    return reader.preferences(user.id).slack if user else ""


def _line(text: str) -> str:
    """One line that a header takes."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:LONGEST_SUBJECT]


def _slack(payload: Mapping[str, Any]) -> str:
    """Its markup, in which three characters are spelled otherwise."""
    title, text = (_escaped(str(payload[name])) for name in ("title", "text"))
    return f"*{_line(title)}*\n{text}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
