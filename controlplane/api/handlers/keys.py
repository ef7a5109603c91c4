"""KeyService."""

from __future__ import annotations

from controlplane.api.bindings import Bindings, Command, Query
from controlplane.api.convert.account import key_out, key_spec_in
from controlplane.domain.call import Call
from controlplane.ports import Reader, Tx
from controlplane.usecases.accounts import keys
from controlplane.usecases.accounts.parts import Accounts
from swarm.key.v1 import service_pb2 as pb

SERVICE = "swarm.key.v1.KeyService"


def bindings(accounts: Accounts) -> Bindings:
    return {
        f"{SERVICE}.CreateKey": Command(create, after=accounts.refresh),
        f"{SERVICE}.ListKeys": Query(list_keys),
        f"{SERVICE}.RevokeKey": Command(revoke, after=accounts.refresh),
    }


def create(tx: Tx, call: Call, request: pb.CreateKeyRequest) -> pb.CreateKeyResponse:
    key, secret = keys.create_key(tx, call, key_spec_in(request.spec))
    return pb.CreateKeyResponse(key=key_out(key), secret=secret)


def list_keys(reader: Reader, call: Call, _request: pb.ListKeysRequest) -> pb.ListKeysResponse:
    return pb.ListKeysResponse(keys=[key_out(key) for key in keys.list_keys(reader, call)])


def revoke(tx: Tx, call: Call, request: pb.RevokeKeyRequest) -> pb.RevokeKeyResponse:
    keys.revoke_key(tx, call, request.id)
    return pb.RevokeKeyResponse()
