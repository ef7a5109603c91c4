"""Each RPC bound to its use case, one module per service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from controlplane.api.bindings import Bindings
from controlplane.api.handlers import (
    admin,
    administration,
    audit,
    auth,
    avatars,
    backups,
    bulk,
    claims,
    coordinator,
    diffs,
    hostlink,
    hosts,
    keys,
    live,
    notifications,
    projects,
    pullrequests,
    registry,
    tickets,
    vms,
    watching,
)
from controlplane.api.handlers.backups import Archivist
from controlplane.api.handlers.coordinator import Runtime
from controlplane.api.handlers.hostlink import HostLinkServer
from controlplane.domain.lease import LeaseTimes
from controlplane.notices import Pictures
from controlplane.usecases.accounts.parts import Accounts
from controlplane.usecases.claiming import Claims
from controlplane.usecases.health import Outside, Probes
from controlplane.usecases.inbox import Notices
from controlplane.usecases.settings import Settings

__all__ = ["Archivist", "External", "HostLinkServer", "People", "Runtime", "all_bindings"]


@dataclass(frozen=True, slots=True)
class External:
    """What serving external agents needs; see `claims.bindings`."""

    claims: Claims
    times: LeaseTimes
    git_url: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class People:
    """What serving people needs besides accounts. `refresh` applies settings, `outside` is asked how it is."""

    notices: Notices
    pictures: Pictures
    settings: Settings
    refresh: Callable[[], Awaitable[None]]
    outside: Mapping[str, Outside]


def all_bindings(
    link: HostLinkServer,
    runtime: Runtime,
    archivist: Archivist,
    external: External,
    accounts: Accounts,
    *,
    people: People,
    allow_file: bool,
) -> Bindings:
    """The handlers of every service that is served."""
    probes = Probes(runtime.connected, lambda: runtime.unplaceable(""), runtime.disk, people.outside)
    return {
        **audit.bindings(runtime.inspect),
        **claims.bindings(external.claims, external.times, external.git_url),
        **tickets.bindings(allow_file=allow_file),
        **bulk.bindings(),
        **diffs.bindings(),
        **live.bindings(),
        **watching.bindings(),
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
        **administration.bindings(people.settings, people.refresh, probes),
        **avatars.bindings(people.pictures),
        **notifications.bindings(people.notices),
        **hostlink.bindings(link),
    }
