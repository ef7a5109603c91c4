"""Each RPC bound to its use case, one module per service."""

from __future__ import annotations

from controlplane.api.bindings import Bindings
from controlplane.api.handlers import (
    backups,
    coordinator,
    hostlink,
    hosts,
    projects,
    pullrequests,
    registry,
    tickets,
    vms,
)
from controlplane.api.handlers.backups import Archivist
from controlplane.api.handlers.coordinator import Runtime
from controlplane.api.handlers.hostlink import HostLinkServer

__all__ = ["Archivist", "HostLinkServer", "Runtime", "all_bindings"]


def all_bindings(link: HostLinkServer, runtime: Runtime, archivist: Archivist, *, allow_file: bool) -> Bindings:
    """The handlers of every service that is served."""
    return {
        **tickets.bindings(allow_file=allow_file),
        **projects.bindings(allow_file=allow_file),
        **pullrequests.bindings(),
        **vms.bindings(runtime),
        **hosts.bindings(runtime),
        **coordinator.bindings(runtime),
        **backups.bindings(archivist),
        **registry.bindings(),
        **hostlink.bindings(link),
    }
