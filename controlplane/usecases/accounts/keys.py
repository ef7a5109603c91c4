"""API keys of the caller."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.domain.apikey import HINT_CHARACTERS, MOST_KEYS, ApiKey, KeySpec
from controlplane.domain.call import Call
from controlplane.domain.credential import API_KEY, digest_of, new_secret
from controlplane.domain.ids import new_id
from controlplane.errors import FailedPrecondition, NotFound
from controlplane.ports import Reader, Tx
from controlplane.usecases.accounts.me import account


def create_key(tx: Tx, call: Call, spec: KeySpec) -> tuple[ApiKey, str]:
    """The key and its secret, of which only a hash is kept."""
    user, checked = account(tx, call), spec.checked(call.now)
    if len(tx.api_keys(user.id)) >= MOST_KEYS:
        raise FailedPrecondition(f"a user has at most {MOST_KEYS} keys; revoke one", reason="too_many_keys")
    secret = new_secret(API_KEY)
    key = ApiKey(
        id=new_id("ak", call.now),
        user_id=user.id,
        tenant_id=user.tenant_id,
        name=checked.name,
        digest=digest_of(secret),
        hint=secret[-HINT_CHARACTERS:],
        scopes=checked.scopes,
        created_at=call.now,
        expires_at=checked.expires_at,
    )
    tx.add_api_key(key)
    return key, secret


def list_keys(reader: Reader, call: Call) -> Sequence[ApiKey]:
    """Newest first, the expired among them; revoked ones are gone."""
    return reader.api_keys(account(reader, call).id)


def revoke_key(tx: Tx, call: Call, ident: str) -> None:
    key = tx.api_key(account(tx, call).id, ident)
    if key is None or key.revoked_at is not None:
        raise NotFound(f"there is no key {ident}")
    tx.revoke_api_key(ident, call.now)
