"""The account of the caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controlplane.domain.call import Call
from controlplane.domain.user import User, name_in
from controlplane.errors import FailedPrecondition, InvalidInput, Unauthenticated, Violation
from controlplane.ports import Reader, Tx


def account(reader: Reader, call: Call) -> User:
    """FailedPrecondition for the local admin, who has none."""
    if not call.principal.user_id:
        words = "the local admin has no account: make one with `swarm admin create`, then `swarm login`"
        raise FailedPrecondition(words, reason="no_account")
    user = reader.user(call.principal.user_id)
    if user is None:
        raise Unauthenticated("the user is gone")
    return user


def me(reader: Reader, call: Call) -> User | None:
    return account(reader, call) if call.principal.user_id else None


def update_me(tx: Tx, call: Call, name: str, fields: Sequence[str]) -> User:
    """Takes the named fields, of which there is one."""
    user = account(tx, call)
    if unknown := [field for field in fields if field != "name"]:
        reason = "cannot be changed"
        raise InvalidInput(f"{unknown[0]} {reason}", violations=(Violation(f"/profile/{unknown[0]}", reason),))
    changed = replace(user, name=name_in(name, "/profile/name"))
    tx.save_user(changed)
    return changed
