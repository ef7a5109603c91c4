"""API keys of the user who is logged in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from swarm.key.v1 import service_pb2 as pb
from swarm.key.v1.key_pb2 import Key, KeySpec
from swarm.key.v1.service_pb2 import CreateKeyResponse
from swarm.key.v1.service_pb2_grpc import KeyServiceStub
from swarm_sdk.transport import Transport


class Keys:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = KeyServiceStub(transport.channel)

    async def create(
        self, name: str, scopes: Iterable[str], *, expires_at: datetime | None = None
    ) -> CreateKeyResponse:
        """The key and its secret, which cannot be asked for again. `expires_at` is aware of its zone."""
        spec = KeySpec(name=name, scopes=scopes)
        if expires_at is not None:
            spec.expires_at.FromDatetime(expires_at)
        return await self._transport.once(self._stub.CreateKey, pb.CreateKeyRequest(spec=spec))

    async def list(self) -> Sequence[Key]:
        return (await self._transport.read(self._stub.ListKeys, pb.ListKeysRequest())).keys

    async def revoke(self, key_id: str) -> None:
        await self._transport.change(self._stub.RevokeKey, pb.RevokeKeyRequest(id=key_id))
