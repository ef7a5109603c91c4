"""JSON objects as messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError, EncodeError
from google.protobuf.struct_pb2 import Struct

from swarm_sdk.errors import InvalidArgumentError


def struct_of(value: Mapping[str, Any], what: str) -> Struct:
    """`InvalidArgumentError` for what no message can hold; `what` names it."""
    body = Struct()
    try:
        body.update(dict(value))
        return Struct.FromString(body.SerializeToString())  # too deep for the other side is too deep for us
    except (ValueError, TypeError, RecursionError, EncodeError, DecodeError) as fault:
        raise InvalidArgumentError(f"{what} is not JSON that a message can hold: {fault}", reason="bad_json") from None
