"""The second factor: codes of an authenticator app, and recovery codes for when it is lost."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field, replace
from typing import Final

from controlplane.domain.call import Call
from controlplane.domain.credential import digest_of
from controlplane.domain.user import User
from controlplane.errors import FailedPrecondition
from controlplane.ports import Tx
from controlplane.usecases.accounts.guessing import guessed
from controlplane.usecases.accounts.me import account
from controlplane.usecases.accounts.parts import Accounts

RECOVERY_CODES: Final = 10
RECOVERY_BYTES: Final = 10
RECOVERY_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class Enrolment:
    secret: str = field(repr=False)
    uri: str = field(repr=False)


async def enroll(accounts: Accounts, call: Call, password: str) -> Enrolment:
    """A secret that counts once a code of it was confirmed. Takes the password, where there is one."""
    user = await _without(accounts, call)

    async def check() -> bool | None:
        return True if await accounts.passwords.fits(user.password, password) else None

    if user.password:
        await guessed(accounts, call, user.email, user, check)
    secret = accounts.codes.new_secret()
    sealed = accounts.seal.seal(secret, user.id)
    await accounts.store.write(lambda tx: tx.save_user(replace(account(tx, call), totp=sealed)))
    return Enrolment(secret, accounts.codes.uri(secret, user.email))


async def confirm(accounts: Accounts, call: Call, code: str) -> list[str]:
    """Turns the second factor on; answers the recovery codes."""
    user = await _without(accounts, call)
    if not user.totp:
        raise FailedPrecondition("there is nothing to confirm: enroll first", reason="totp_not_enrolled")
    codes = [new_recovery_code() for _ in range(RECOVERY_CODES)]

    def turn_on(tx: Tx) -> list[str] | None:
        found = account(tx, call)
        if not spend(tx, accounts, found, code, call.now):
            return None
        tx.save_user(replace(found, totp_at=call.now))
        tx.set_recovery_codes(found.id, [recovery_digest(found, each) for each in codes])
        return codes

    return await guessed(accounts, call, user.email, user, lambda: accounts.store.write(turn_on))


async def disable(accounts: Accounts, call: Call, code: str) -> None:
    """Takes a code, since a borrowed screen must not be enough."""
    user = await accounts.store.read(lambda reader: account(reader, call))
    if not user.second_factor:
        raise FailedPrecondition("there is no second factor", reason="totp_not_enabled")

    def turn_off(tx: Tx) -> bool | None:
        found = account(tx, call)
        if not spend(tx, accounts, found, code, call.now):
            return None
        drop(tx, found)
        return True

    await guessed(accounts, call, user.email, user, lambda: accounts.store.write(turn_off))


def drop(tx: Tx, user: User) -> None:
    """From now on the user has no second factor."""
    tx.save_user(replace(user, totp="", totp_at=None))
    tx.set_recovery_codes(user.id, [])


def spend(tx: Tx, accounts: Accounts, user: User, code: str, now: float) -> bool:
    """Whether a code is good; it is used up then."""
    if len(plain(code)) == RECOVERY_LENGTH:
        return tx.take_recovery_code(user.id, recovery_digest(user, code))
    step = accounts.codes.step(accounts.seal.open(user.totp, user.id), code, now)
    return step is not None and tx.take_totp_step(user.id, step)


def new_recovery_code() -> str:
    """80 random bits, as people write them down."""
    text = base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, RECOVERY_LENGTH, 4))


def recovery_digest(user: User, code: str) -> str:
    return digest_of(f"{user.id} {plain(code)}")


def plain(code: str) -> str:
    return code.replace("-", "").replace(" ", "").lower()


async def _without(accounts: Accounts, call: Call) -> User:
    user = await accounts.store.read(lambda reader: account(reader, call))
    if user.second_factor:
        raise FailedPrecondition("there is a second factor already; disable it first", reason="totp_enabled")
    return user
