"""Pictures of people, seen by those of the same tenant."""

from __future__ import annotations

from controlplane.domain.avatar import Avatar
from controlplane.domain.call import Call
from controlplane.errors import NotFound
from controlplane.notices import Pictures
from controlplane.ports import Reader, Store, Tx
from controlplane.usecases.accounts.me import account


async def upload(store: Store, pictures: Pictures, call: Call, content: bytes) -> Avatar:
    """Replaces the picture of the caller. InvalidInput for what is none."""
    user = await store.read(lambda reader: account(reader, call))
    image, kind = await pictures.square(content)
    avatar = Avatar(image, kind, call.now)
    await store.write(lambda tx: tx.save_avatar(user.id, avatar))
    return avatar


def delete(tx: Tx, call: Call) -> None:
    if not tx.drop_avatar(account(tx, call).id):
        raise NotFound("there is no picture")


def get(reader: Reader, call: Call, user_id: str) -> Avatar:
    known = reader.user_of(call.principal.tenant_id, user_id)
    avatar = reader.avatar(user_id) if known else None
    if avatar is None:
        raise NotFound(f"there is no picture of {user_id}")
    return avatar
