"""The way in for everything that can be guessed: a guess counts before it is looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from controlplane.domain.call import Call
from controlplane.domain.guess import Guesses, subjects
from controlplane.domain.user import User
from controlplane.errors import RateLimited, Unauthenticated
from controlplane.ports import Tx
from controlplane.usecases.accounts.parts import Accounts

T = TypeVar("T")


async def guessed(
    accounts: Accounts, call: Call, email: str, user: User | None, check: Callable[[], Awaitable[T | None]]
) -> T:
    """What a right guess gives. RateLimited after too many wrong ones, Unauthenticated for one more.

    Neither tells whether there is such a user.
    """
    whose = subjects(email, call.address)
    await accounts.store.write(lambda tx: _count(tx, whose, call.now))
    found = await check()
    if found is None:
        await accounts.store.write(lambda tx: _note(tx, call, user))
        raise refused()
    await accounts.store.write(lambda tx: _forgive(tx, whose))
    return found


def refused() -> Unauthenticated:
    return Unauthenticated("the address, the password or the code is wrong", reason="invalid_credentials")


def _count(tx: Tx, whose: Sequence[str], now: float) -> None:
    known = {each.subject: each for each in tx.guesses(whose)}
    counted = [known.get(subject, Guesses(subject)) for subject in whose]
    wait = max(each.wait(now) for each in counted)
    if wait > 0:
        raise RateLimited(
            f"too many wrong guesses; the next is taken in {wait:.0f} s", reason="locked_out", retry_after_s=wait
        )
    for each in counted:
        tx.save_guesses(each.wrong(now))


def _forgive(tx: Tx, whose: Sequence[str]) -> None:
    """The account is known to be its owner's; of an address only this guess is taken back."""
    tx.forget_guesses(whose[:1])
    for each in tx.guesses(whose[1:]):
        tx.save_guesses(replace(each, count=each.count - 1, locked_until=0.0))


def _note(tx: Tx, call: Call, user: User | None) -> None:
    """What was typed stays out of it: it may be a password. The user's tenant sees who guesses at it."""
    whose, tenant_id = (user.id, user.tenant_id) if user else ("", "")
    data = {"user": whose}
    tx.add_audit("auth.refused", call.principal.name, call.request_id, data, call.now, tenant_id=tenant_id)
