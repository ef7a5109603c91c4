"""The coordinator: whether anything is placed at all, how much, and how things stand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from controlplane.domain.call import Call
from controlplane.domain.epoch import SETTING as EPOCH
from controlplane.domain.event import NewEvent
from controlplane.domain.ticket import LEASED, TicketState
from controlplane.errors import SwarmError
from controlplane.ports import Reader, Tx
from controlplane.usecases.hosts import all_hosts
from controlplane.usecases.services import Services

SETTING: Final = "coordinator"
TOPIC: Final = "coordinator"


@dataclass(frozen=True, slots=True)
class Disk:
    """Where the database is. `refusal` says why no new work is taken; empty: it is."""

    free_bytes: int = 0
    refusal: str = ""


UNMEASURED: Final = Disk()


@dataclass(frozen=True, slots=True)
class CoordinatorStatus:
    """`max_vms` 0: what the hosts hold. `unplaceable` says by ticket key why it still waits."""

    running: bool
    max_vms: int
    queue_depth: int
    leased: int
    hosts_online: int
    hosts_total: int
    tickets: Mapping[TicketState, int]
    started_at: float
    version: str
    unplaceable: Mapping[str, str] = field(default_factory=dict)
    epoch: int = 0
    disk: Disk = field(default_factory=Disk)


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What was left over and is gone now; `details` holds lines for people, failures among them."""

    vms: int = 0
    namespaces: int = 0
    files: int = 0
    assignments: int = 0
    details: tuple[str, ...] = ()


def status(
    reader: Reader,
    _call: Call,
    *,
    started_at: float,
    version: str,
    connected: frozenset[str],
    unplaceable: Mapping[str, str],
    disk: Disk = UNMEASURED,
) -> CoordinatorStatus:
    """`connected` holds ids of hosts, `unplaceable` comes from the scheduler."""
    setting, counts = _setting(reader), reader.ticket_counts()
    hosts = [host.id for host in all_hosts(reader)]
    return CoordinatorStatus(
        running=setting["running"],
        max_vms=setting["max_vms"],
        queue_depth=counts.get(TicketState.READY, 0),
        leased=sum(counts.get(state, 0) for state in LEASED),
        hosts_online=len(connected.intersection(hosts)),
        hosts_total=len(hosts),
        tickets=counts,
        started_at=started_at,
        version=version,
        unplaceable=unplaceable,
        epoch=reader.setting(EPOCH) or 0,
        disk=disk,
    )


def start(tx: Tx, call: Call, max_vms: int) -> None:
    """Place tickets, on at most so many VMs at once; 0 leaves that limit as it is."""
    setting = _setting(tx)
    _change(tx, call, {"running": True, "max_vms": max_vms or setting["max_vms"]}, "coordinator.started")


def stop(tx: Tx, call: Call) -> None:
    """Place nothing more; what runs goes on."""
    _change(tx, call, {**_setting(tx), "running": False}, "coordinator.stopped")


async def cleanup(services: Services, _call: Call) -> CleanupReport:
    """Have every attached host remove what belongs to no VM of its own. A host that fails is named in the details."""
    hosts = sorted(services.fleet.connected())
    return added(await asyncio.gather(*(_clean(services, host_id) for host_id in hosts)))


def added(reports: list[CleanupReport]) -> CleanupReport:
    return CleanupReport(
        vms=sum(one.vms for one in reports),
        namespaces=sum(one.namespaces for one in reports),
        files=sum(one.files for one in reports),
        assignments=sum(one.assignments for one in reports),
        details=tuple(line for one in reports for line in one.details),
    )


async def _clean(services: Services, host_id: str) -> CleanupReport:
    found: dict[str, Any] = {}
    try:
        async for update in services.fleet.command(host_id, "cleanup", {}):
            found |= update.cleanup or {}
    except SwarmError as error:
        return CleanupReport(details=(f"{host_id}: {error.message}",))
    return CleanupReport(**{**found, "details": tuple(found.get("details", ()))})


def _setting(reader: Reader) -> dict[str, Any]:
    return {"running": True, "max_vms": 0, **(reader.setting(SETTING) or {})}


def _change(tx: Tx, call: Call, setting: dict[str, Any], event: str) -> None:
    tx.set_setting(SETTING, setting)
    tx.add_events([NewEvent(TOPIC, event, {**setting, "by": call.principal.name})], call.now)
