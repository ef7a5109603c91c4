"""The first admin, made by who can read the one-time link that a new deployment leaves in its state directory."""

from __future__ import annotations

from controlplane.domain import lifetimes
from controlplane.domain.call import HOME, Call, Role
from controlplane.domain.credential import OneTimeToken, Purpose, digest_of, new_secret, well_formed
from controlplane.domain.user import UserSpec, new_password
from controlplane.errors import Unauthenticated
from controlplane.ports import Store, Tx
from controlplane.usecases.accounts.audit import note
from controlplane.usecases.accounts.logins import Issued, begin
from controlplane.usecases.accounts.parts import Accounts
from controlplane.usecases.accounts.users import new_user


async def offer_setup(store: Store) -> str:
    """A fresh token while there is no user; those before are void. Empty once there is one."""
    secret, now = new_secret(Purpose.SETUP.prefix), store.now()

    def offer(tx: Tx) -> str:
        tx.drop_one_time_tokens(Purpose.SETUP, "")
        if tx.user_count():
            return ""
        tx.add_one_time_token(OneTimeToken(digest_of(secret), Purpose.SETUP, "", now + lifetimes.SETUP))
        return secret

    return await store.write(offer)


async def set_up(accounts: Accounts, call: Call, token: str, spec: UserSpec, password: str) -> Issued:
    """Makes the first admin and logs in. Unauthenticated when the link was used, or there is a user already."""
    checked = UserSpec(spec.email, spec.name, Role.ADMIN).checked()
    new_password(password)
    hashed = await accounts.passwords.hash(password) if well_formed(token, Purpose.SETUP.prefix) else ""

    def make(tx: Tx) -> Issued | None:
        if tx.take_one_time_token(Purpose.SETUP, digest_of(token), call.now) is None or tx.user_count():
            return None
        user = new_user(checked, HOME, hashed, call.now)
        tx.add_user(user)
        note(tx, "user.create", call, user, setup=True)
        return begin(tx, accounts, call, user, "setup")

    issued = await accounts.store.write(make) if hashed else None
    if issued is None:
        raise Unauthenticated("the setup link is not good: it is renewed at each start", reason="invalid_setup_token")
    await accounts.refresh()
    return issued
