"""What Prometheus may ask a host for. One registry per process; the names are part of the interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from hostd.errors import ConfigError
from telemetry.exposition import exposed

REGISTRY: Final = CollectorRegistry(auto_describe=True)

VMS: Final = Gauge("swarm_host_vms", "VMs by state, as of the last report", ("state",), registry=REGISTRY)
ATTEMPTS: Final = Gauge("swarm_host_attempts", "Attempts that run on this host", registry=REGISTRY)
FINISHED: Final = Counter(
    "swarm_host_attempts_finished_total",
    'Attempts that ended here, by cause; "outcome": the guest said how',
    ("cause",),
    registry=REGISTRY,
)
BOOT_SECONDS: Final = Histogram(
    "swarm_host_vm_boot_seconds",
    "From the acquire to the running VM",
    ("tier",),
    buckets=(0.0005, 0.001, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30),
    registry=REGISTRY,
)
LINK_UP: Final = Gauge("swarm_host_link_up", "1 while the control plane is connected", registry=REGISTRY)
FENCED: Final = Gauge("swarm_host_fenced", "1 while leases are not renewed and VMs stand still", registry=REGISTRY)
LEASE_LOSSES: Final = Counter(
    "swarm_host_lease_losses_total", "Times that the host fenced itself after it had a lease", registry=REGISTRY
)


@contextmanager
def served(address: str) -> Iterator[None]:
    """Answers /metrics at `host:port`; an empty address serves nothing. `ConfigError`."""
    with ExitStack() as stack:
        try:
            if address:
                stack.enter_context(exposed(address, REGISTRY))
        except (OSError, ValueError) as fault:
            raise ConfigError([f"metrics: cannot be served on {address}: {fault}"]) from None
        yield
