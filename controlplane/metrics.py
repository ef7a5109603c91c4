"""What Prometheus may ask for. One registry per process; the names are part of the interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from controlplane.errors import StartError
from telemetry.exposition import exposed

REGISTRY: Final = CollectorRegistry(auto_describe=True)

API_REQUESTS: Final = Counter(
    "swarm_api_requests_total", "Public calls by method and canonical code", ("method", "code"), registry=REGISTRY
)
API_LATENCY: Final = Histogram(
    "swarm_api_latency_seconds",
    "Time of public unary calls",
    ("method",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
    registry=REGISTRY,
)
API_STREAMS: Final = Gauge("swarm_api_streams", "Open streams by method", ("method",), registry=REGISTRY)
TICKETS: Final = Counter("swarm_tickets_total", "Tickets that entered a state", ("state",), registry=REGISTRY)
ATTEMPTS: Final = Counter(
    "swarm_attempts_total", "Attempts that hosts reported as finished, by outcome", ("outcome",), registry=REGISTRY
)
FAILURES: Final = Counter(
    "swarm_attempt_failures_total", "Attempts that failed, by cause", ("cause",), registry=REGISTRY
)
VMS_ACTIVE: Final = Gauge("swarm_vms_active", "VMs that a host reports as alive", ("host",), registry=REGISTRY)
BOOT_SECONDS: Final = Histogram(
    "swarm_vm_boot_seconds",
    "From the acquire to the running VM",
    ("tier",),
    buckets=(0.0005, 0.001, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30),
    registry=REGISTRY,
)
HOSTS_CONNECTED: Final = Gauge("swarm_hosts_connected", "Hosts whose link is up", registry=REGISTRY)
HOST_EVENTS: Final = Counter(
    "swarm_host_events_total", "Events of hosts that were committed", ("host",), registry=REGISTRY
)
DISK_FREE: Final = Gauge("swarm_disk_free_bytes", "Free bytes where the database is", registry=REGISTRY)
DISK_FULL: Final = Gauge("swarm_disk_full", "1 while new work is refused for want of space", registry=REGISTRY)
OUTBOX_EFFECTS: Final = Counter(
    "swarm_outbox_effects_total", "Effects that were tried, by what came of it", ("kind", "outcome"), registry=REGISTRY
)
OUTBOX_IN_HAND: Final = Gauge("swarm_outbox_in_hand", "Effects that are being tried now", ("kind",), registry=REGISTRY)
STORE_COMMITS: Final = Counter("swarm_store_commits_total", "Groups of writes that were committed", registry=REGISTRY)
STORE_WRITES: Final = Counter("swarm_store_writes_total", "Units of work in those groups", registry=REGISTRY)
LEASE_LOSSES: Final = Counter(
    "swarm_lease_losses_total", "Attempts whose lease ended without a word of their host", registry=REGISTRY
)
RATE_LIMITED: Final = Counter(
    "swarm_rate_limited_total", "Calls that were refused for their number, by tier", ("tier",), registry=REGISTRY
)
RATE_LIMIT_ALONE: Final = Gauge(
    "swarm_rate_limit_alone", "1 while Redis is away and this process counts calls alone", registry=REGISTRY
)
AUDIT_BROKEN: Final = Gauge(
    "swarm_audit_broken", "1 once the audit log was found altered behind its last head", registry=REGISTRY
)
CLAUDE_CIRCUIT: Final = Gauge(
    "swarm_claude_circuit_open", "1 while tickets of agents that need Claude wait for it", registry=REGISTRY
)
QUEUE_DEPTH: Final = Gauge("swarm_queue_depth", "Tickets that wait for a place", registry=REGISTRY)


# Looking a child up costs more than counting with it, and every call does.
requests: Final = lru_cache(4096)(API_REQUESTS.labels)
latency: Final = lru_cache(4096)(API_LATENCY.labels)


def rendered() -> tuple[bytes, str]:
    """All of it for Prometheus, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


@contextmanager
def served(address: str) -> Iterator[None]:
    """Answers /metrics at `host:port`; an empty address serves nothing."""
    with ExitStack() as stack:
        try:
            if address:
                stack.enter_context(exposed(address, REGISTRY))
        except OSError as fault:
            raise StartError(f"cannot serve metrics on {address}: {fault.strerror or fault}") from None
        yield
