"""Passwords: changed by who knows them, reset by who reads the mail."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from controlplane.domain import lifetimes
from controlplane.domain.call import Call
from controlplane.domain.credential import OneTimeToken, Purpose, digest_of, new_secret, well_formed
from controlplane.domain.event import Effect
from controlplane.domain.user import User, new_password
from controlplane.errors import FailedPrecondition, Unauthenticated
from controlplane.ports import Tx
from controlplane.usecases.accounts.audit import note
from controlplane.usecases.accounts.guessing import guessed
from controlplane.usecases.accounts.me import account
from controlplane.usecases.accounts.parts import Accounts, active

MAIL_RESET: Final = "mail_reset"


async def change(accounts: Accounts, call: Call, current: str, fresh: str) -> None:
    """Ends all logins but this one. Unauthenticated when the current password is wrong."""
    new_password(fresh, "/new_password")
    user = await accounts.store.read(lambda reader: account(reader, call))

    async def check() -> bool | None:
        return True if await accounts.passwords.fits(user.password, current) else None

    if user.password:
        await guessed(accounts, call, user.email, user, check)
    hashed = await accounts.passwords.hash(fresh)
    await accounts.store.write(lambda tx: _set(tx, account(tx, call), hashed, call.now, but=call.principal.login_id))
    await accounts.refresh()


def forgot(tx: Tx, accounts: Accounts, call: Call, email: str) -> None:
    """Has a link mailed, one a minute at most. FailedPrecondition without a mail server, whatever the address."""
    if not accounts.mails:
        words = "this deployment sends no mail: set SWARM_SMTP_URL, or have an admin reset the password"
        raise FailedPrecondition(words, reason="mail_not_configured")
    user = active(tx, tx.user_by_email(email.strip().lower()))
    if user is not None:
        # The outbox makes the token when it sends it, so that the database never holds one in clear.
        minute = int(call.now // lifetimes.MINUTE)
        tx.add_effects([Effect(f"{MAIL_RESET}:{user.id}:{minute}", MAIL_RESET, {"user_id": user.id})], call.now)


async def reset(accounts: Accounts, call: Call, token: str, fresh: str) -> None:
    """Takes the token of a link, once. Ends all logins."""
    new_password(fresh, "/new_password")
    digest = digest_of(token)
    hashed = await accounts.passwords.hash(fresh) if well_formed(token, Purpose.RESET.prefix) else ""

    def apply(tx: Tx) -> bool:
        found = tx.take_one_time_token(Purpose.RESET, digest, call.now)
        user = active(tx, tx.user(found.subject)) if found else None
        if user is not None:
            _set(tx, user, hashed, call.now)
            note(tx, "auth.reset_password", call, user)
        return user is not None

    if not hashed or not await accounts.store.write(apply):
        raise Unauthenticated("ask for a new link: this one was used or has expired", reason="invalid_reset_token")
    await accounts.refresh()


def offer_reset(tx: Tx, user: User, now: float, lifetime: float = lifetimes.RESET) -> str:
    """A token for `reset`; those before are void."""
    secret = new_secret(Purpose.RESET.prefix)
    tx.drop_one_time_tokens(Purpose.RESET, user.id)
    tx.add_one_time_token(OneTimeToken(digest_of(secret), Purpose.RESET, user.id, now + lifetime))
    return secret


def _set(tx: Tx, user: User, hashed: str, now: float, *, but: str = "") -> None:
    tx.save_user(replace(user, password=hashed))
    end_all(tx, user, now, but=but)


def end_all(tx: Tx, user: User, now: float, *, but: str = "") -> None:
    """Whatever the user has begun with what was good before."""
    tx.revoke_logins(user.id, now, but=but)
    for purpose in (Purpose.RESET, Purpose.CHALLENGE, Purpose.WS_TICKET):
        tx.drop_one_time_tokens(purpose, user.id)
