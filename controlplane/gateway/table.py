"""What was generated from our own protos."""

from __future__ import annotations

from importlib import resources
from typing import Final

from google.protobuf.message import Message

from controlplane.gateway.router import Router
from swarm.http.codecs import BY_NAME
from swarm.http.routes import ROUTES

ROUTER: Final = Router(ROUTES)


def decode(kind: type[Message], body: bytes) -> Message:
    """A message from its JSON, as in a frame of a WebSocket; `InvalidInput` with all faults."""
    return BY_NAME[kind.DESCRIPTOR.full_name].decode(body)


def encode(message: Message) -> bytes:
    return BY_NAME[message.DESCRIPTOR.full_name].encode(message)


def openapi() -> bytes:
    return resources.files("swarm.http").joinpath("openapi.json").read_bytes()
