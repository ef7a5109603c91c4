"""Mails that the outbox sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from controlplane.identity import Mailer
from controlplane.ports import Store, Tx
from controlplane.usecases.accounts.parts import active
from controlplane.usecases.accounts.passwords import offer_reset

SUBJECT: Final = "Reset your Swarm password"
TEXT: Final = """\
Somebody, probably you, asked for a new password for {email}.

Choose one within 30 minutes:

  {url}/reset-password#token={token}

If it was not you, nothing has to be done.
"""


@dataclass(frozen=True, slots=True)
class ResetMails:
    """`url` is where people reach the dashboard."""

    mailer: Mailer
    url: str

    async def __call__(self, store: Store, key: str, payload: Mapping[str, Any]) -> None:
        """Sends a link with a fresh token; a repetition after a crash sends another, and only the last one is good."""
        now = store.now()

        def offer(tx: Tx) -> tuple[str, str] | None:
            user = active(tx, tx.user(payload["user_id"]))
            return (user.email, offer_reset(tx, user, now)) if user else None

        if offered := await store.write(offer):
            email, token = offered
            # In the fragment, which no server sees and no log keeps.
            await self.mailer.send(email, SUBJECT, TEXT.format(email=email, url=self.url, token=token))
        await store.write(lambda tx: tx.effect_done(key, now))
