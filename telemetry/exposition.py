"""Metrics for Prometheus on a port of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import start_http_server


@contextmanager
def exposed(address: str, registry: CollectorRegistry) -> Iterator[None]:
    """Answers /metrics at `host:port` on a thread of its own. OSError or ValueError when it cannot be served there."""
    host, _, port = address.rpartition(":")
    server, thread = start_http_server(int(port), addr=host.strip("[]"), registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
