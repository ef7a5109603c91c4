"""Logging in, staying logged in, and ending it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from controlplane.domain import lifetimes
from controlplane.domain.call import Call
from controlplane.domain.credential import (
    REFRESH,
    OneTimeToken,
    Purpose,
    digest_of,
    new_secret,
    well_formed,
)
from controlplane.domain.ids import new_id
from controlplane.domain.login import LONGEST_USER_AGENT, Login, RefreshToken, expiry
from controlplane.domain.user import User
from controlplane.errors import FailedPrecondition, NotFound, Unauthenticated
from controlplane.ports import Reader, Tx
from controlplane.usecases.accounts.audit import note
from controlplane.usecases.accounts.factors import spend
from controlplane.usecases.accounts.guessing import guessed, refused
from controlplane.usecases.accounts.me import account
from controlplane.usecases.accounts.parts import Accounts, active


@dataclass(frozen=True, slots=True)
class Issued:
    """A login with its fresh tokens, which nobody keeps."""

    user: User
    login: Login
    access_token: str = field(repr=False)
    access_expires_at: float
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """The first factor was right; `token` stands for it until the second comes."""

    token: str = field(repr=False)


async def log_in(accounts: Accounts, call: Call, email: str, password: str) -> Issued | Challenge:
    """By password. Unauthenticated, in the same time, whatever is wrong; RateLimited after too many guesses."""
    address = email.strip().lower()
    user = await accounts.store.read(lambda reader: active(reader, reader.user_by_email(address)))
    hashed = user.password if user else ""

    async def check() -> User | None:
        return user if await accounts.passwords.fits(hashed, password) else None

    known = await guessed(accounts, call, address, user, check)
    fresh = await accounts.passwords.hash(password) if accounts.passwords.outdated(hashed) else hashed

    def enter(tx: Tx) -> Issued | Challenge:
        found = active(tx, tx.user(known.id))
        if found is None or found.password != hashed:
            raise refused()
        if fresh != hashed:
            tx.save_user(replace(found, password=fresh))
        return proceed(tx, accounts, call, found, "password")

    return await accounts.store.write(enter)


def proceed(tx: Tx, accounts: Accounts, call: Call, user: User, method: str) -> Issued | Challenge:
    """After the first factor: the login, or the question for the second."""
    if not user.second_factor:
        return begin(tx, accounts, call, user, method)
    secret = new_secret(Purpose.CHALLENGE.prefix)
    until = call.now + lifetimes.CHALLENGE
    tx.add_one_time_token(OneTimeToken(digest_of(secret), Purpose.CHALLENGE, user.id, until, method))
    return Challenge(secret)


async def complete(accounts: Accounts, call: Call, challenge: str, code: str) -> Issued:
    """By the second factor. A code is taken once, and so is a challenge."""
    digest = digest_of(challenge)

    def challenged(reader: Reader) -> User | None:
        token = reader.one_time_token(Purpose.CHALLENGE, digest, call.now)
        return active(reader, reader.user(token.subject)) if token else None

    def finish(tx: Tx) -> Issued | None:
        user = challenged(tx)
        if user is None or not spend(tx, accounts, user, code, call.now):
            return None
        token = tx.take_one_time_token(Purpose.CHALLENGE, digest, call.now)
        return begin(tx, accounts, call, user, token.data) if token else None

    user = await accounts.store.read(challenged) if well_formed(challenge, Purpose.CHALLENGE.prefix) else None
    if user is None:
        raise Unauthenticated("log in again: the challenge has expired", reason="invalid_challenge")
    return await guessed(accounts, call, user.email, user, lambda: accounts.store.write(finish))


def begin(tx: Tx, accounts: Accounts, call: Call, user: User, method: str) -> Issued:
    login = Login(
        id=new_id("lg", call.now),
        user_id=user.id,
        tenant_id=user.tenant_id,
        method=method,
        user_agent=call.user_agent[:LONGEST_USER_AGENT],
        address=call.address,
        created_at=call.now,
        used_at=call.now,
        expires_at=expiry(call.now, call.now),
    )
    tx.add_login(login)
    note(tx, "auth.login", call, user, login=login.id, method=method, address=call.address)
    return _issue(tx, accounts, user, login, call.now)


async def refresh(accounts: Accounts, call: Call, token: str) -> Issued:
    """New tokens for a refresh token, which is used up. Who brings one a second time has a copy: its login ends."""
    digest = digest_of(token)
    issued = None
    if well_formed(token, REFRESH):
        issued = await accounts.store.write(lambda tx: _exchange(tx, accounts, call, digest))
        await accounts.refresh()
    if issued is None:
        raise Unauthenticated("log in again: the refresh token is not good any more", reason="invalid_refresh_token")
    return issued


def _exchange(tx: Tx, accounts: Accounts, call: Call, digest: str) -> Issued | None:
    known = tx.refresh_token(digest)
    login = tx.login(known.login_id) if known else None
    if login is None or not login.stands(call.now):
        return None
    if not tx.take_refresh_token(digest, call.now):
        tx.revoke_login(login.id, call.now)
        if owner := tx.user(login.user_id):
            note(tx, "auth.reuse", call, owner, login=login.id)
        return None
    user = active(tx, tx.user(login.user_id))
    if user is None:
        return None
    login = login.used(call.now, call.address, call.user_agent)
    tx.save_login(login)
    return _issue(tx, accounts, user, login, call.now)


def _issue(tx: Tx, accounts: Accounts, user: User, login: Login, now: float) -> Issued:
    secret = new_secret(REFRESH)
    tx.add_refresh_token(RefreshToken(digest_of(secret), login.id, now))
    access, expires_at = accounts.access.issue(login, now)
    return Issued(user, login, access, expires_at, secret)


def log_out(tx: Tx, call: Call) -> None:
    """Ends the caller's login; FailedPrecondition for a caller that is not logged in, such as a key."""
    if not call.principal.login_id:
        raise FailedPrecondition("this credential is no login; revoke it instead", reason="no_login")
    tx.revoke_login(call.principal.login_id, call.now)


def list_logins(reader: Reader, call: Call) -> Sequence[Login]:
    """The caller's own, newest first."""
    return reader.logins(account(reader, call).id, call.now)


def revoke_login(tx: Tx, call: Call, ident: str) -> None:
    """NotFound for a login that is over, or another's."""
    login = tx.login(ident)
    if login is None or login.user_id != account(tx, call).id or not login.stands(call.now):
        raise NotFound(f"there is no login {ident}")
    tx.revoke_login(ident, call.now)


def revoke_others(tx: Tx, call: Call) -> int:
    """Ends all of the caller's logins but this one; answers how many."""
    return tx.revoke_logins(account(tx, call).id, call.now, but=call.principal.login_id)
