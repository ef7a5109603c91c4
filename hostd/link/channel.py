"""How to reach the control plane: a Unix socket, or TCP with TLS, never plain TCP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from hostd.errors import ConfigError

OPTIONS = (
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_send_message_length", 4 << 20),
    # Reconnecting is the link's own business, with its own backoff.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A connection of which only one direction is left looks alive for a quarter of an hour without these.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A new channel is a new connection, not a share of one that may be dead.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`target` is ``unix:PATH`` or ``HOST:PORT``; the certificate files belong to TCP."""

    target: str
    token: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def metadata(self) -> Sequence[tuple[str, str]]:
        return (("authorization", f"Bearer {self.token}"),)


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error


def open_channel(endpoint: Endpoint) -> grpc.aio.Channel:
    """A lazily connecting channel. `ConfigError` for unreadable certificate files."""
    if endpoint.target.startswith("unix:"):
        return grpc.aio.insecure_channel(endpoint.target, options=[*OPTIONS, ("grpc.default_authority", "localhost")])
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(endpoint.ca),
        private_key=_read(endpoint.key),
        certificate_chain=_read(endpoint.certificate),
    )
    return grpc.aio.secure_channel(endpoint.target, credentials, options=OPTIONS)
