"""Users, as their admins see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controlplane.domain import lifetimes
from controlplane.domain.call import Call
from controlplane.domain.ids import new_id
from controlplane.domain.user import User, UserSpec, new_password
from controlplane.errors import AlreadyExists, FailedPrecondition, NotFound
from controlplane.ports import Page, Reader, Tx
from controlplane.usecases.accounts.factors import drop
from controlplane.usecases.accounts.parts import Accounts
from controlplane.usecases.accounts.passwords import end_all, offer_reset
from controlplane.usecases.accounts.tenants import administered
from controlplane.usecases.mask import merge

UPDATABLE = ("email", "name", "role", "disabled")


async def create_user(
    accounts: Accounts, call: Call, tenant_id: str, spec: UserSpec, password: str
) -> tuple[User, str]:
    """The user, and a token for a first password where none is given. AlreadyExists for an address that is taken."""
    checked = spec.checked()
    hashed = await accounts.passwords.hash(new_password(password)) if password else ""

    def add(tx: Tx) -> tuple[User, str]:
        tenant = administered(tx, call, tenant_id)
        disabled_at = call.now if checked.disabled else None
        user = new_user(checked, tenant.id, hashed, call.now, disabled_at)
        tx.add_user(user)
        return user, "" if hashed else offer_reset(tx, user, call.now, lifetimes.SETUP)

    made = await accounts.store.write(add)
    await accounts.refresh()
    return made


def new_user(spec: UserSpec, tenant_id: str, hashed: str, now: float, disabled_at: float | None = None) -> User:
    return User(new_id("us", now), tenant_id, spec.email, spec.name, spec.role, now, hashed, disabled_at)


def list_users(reader: Reader, call: Call, tenant_id: str, page: Page) -> tuple[list[User], str]:
    return reader.users(administered(reader, call, tenant_id).id, page)


def get_user(reader: Reader, call: Call, tenant_id: str, ident: str) -> User:
    user = reader.user_of(administered(reader, call, tenant_id).id, ident)
    if user is None:
        raise NotFound(f"there is no user {ident}")
    return user


def update_user(tx: Tx, call: Call, user: User, spec: UserSpec, fields: Sequence[str]) -> User:
    """Takes the named fields. FailedPrecondition for admins who would take their own rights away."""
    before = UserSpec(user.email, user.name, user.role, user.disabled_at is not None)
    after = merge(before, spec, fields, UPDATABLE).checked()
    if user.id == call.principal.user_id and (after.disabled or after.role is not user.role):
        raise FailedPrecondition("another admin has to change your role or shut you out", reason="yourself")
    other = tx.user_by_email(after.email)
    if other is not None and other.id != user.id:
        raise AlreadyExists(f"there is a user {after.email} already")
    disabled_at = (user.disabled_at or call.now) if after.disabled else None
    changed = replace(user, email=after.email, name=after.name, role=after.role, disabled_at=disabled_at)
    tx.save_user(changed)
    if after.disabled or after.email != user.email:
        end_all(tx, changed, call.now)
    return changed


def reset_user(tx: Tx, call: Call, user: User) -> str:
    """Ends all logins and drops the second factor; answers a token for a new password."""
    drop(tx, user)
    end_all(tx, user, call.now)
    return offer_reset(tx, user, call.now, lifetimes.SETUP)
