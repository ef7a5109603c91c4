"""Each RPC bound to its use case, one module per service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.api.bindings import Bindings
from controlplane.api.handlers import (
    admin,
    auth,
    backups,
    claims,
    coordinator,
    hostlink,
    hosts,
    keys,
    projects,
    pullrequests,
    registry,
    tickets,
    vms,
)
from controlplane.api.handlers.backups import Archivist
from controlplane.api.handlers.coordinator import Runtime
from controlplane.api.handlers.hostlink import HostLinkServer
from controlplane.domain.lease import LeaseTimes
from controlplane.usecases.accounts.parts import Accounts
from controlplane.usecases.claiming import Claims

__all__ = ["Archivist", "External", "HostLinkServer", "Runtime", "all_bindings"]


@dataclass(frozen=True, slots=True)
class External:
    """What serving external agents needs; see `claims.bindings`."""

    claims: Claims
    times: LeaseTimes
    git_url: Callable[[str], str]


def all_bindings(
    link: HostLinkServer,
    runtime: Runtime,
    archivist: Archivist,
    external: External,
    accounts: Accounts,
    *,
    allow_file: bool,
) -> Bindings:
    """The handlers of every service that is served."""
    return {
        **claims.bindings(external.claims, external.times, external.git_url),
        **tickets.bindings(allow_file=allow_file),
        **projects.bindings(allow_file=allow_file),
        **pullrequests.bindings(),
        **vms.bindings(runtime),
        **hosts.bindings(runtime),
        **coordinator.bindings(runtime),
        **backups.bindings(archivist),
        **registry.bindings(),
        **auth.bindings(accounts),
        **keys.bindings(accounts),
        **admin.bindings(accounts),
        **hostlink.bindings(link),
    }
