"""The coordinator: whether anything is placed at all, how much, and how things stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from controlplane.domain.call import Call
from controlplane.domain.cleanup import CleanupRun
from controlplane.domain.epoch import SETTING as EPOCH
from controlplane.domain.event import NewEvent
from controlplane.domain.ticket import LEASED, TicketState
from controlplane.ports import Reader, Tx
from controlplane.usecases.hosts import all_hosts, get_host

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
    alerts: Sequence[str] = ()
    vms: int = 0
    vms_unhealthy: int = 0


def status(
    reader: Reader,
    call: Call,
    *,
    started_at: float,
    version: str,
    connected: frozenset[str],
    unplaceable: Mapping[str, str],
    disk: Disk = UNMEASURED,
    alerts: Sequence[str] = (),
) -> CoordinatorStatus:
    """`connected` holds ids of hosts, `unplaceable` comes from the scheduler. Tickets are the caller's own."""
    setting, counts = _setting(reader), reader.ticket_counts(call.principal.tenant_id)
    hosts = [host.id for host in all_hosts(reader)]
    alive, unhealthy = reader.vm_counts()
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
        alerts=alerts,
        vms=alive,
        vms_unhealthy=unhealthy,
    )


def start(tx: Tx, call: Call, max_vms: int) -> None:
    """Place tickets, on at most so many VMs at once; 0 leaves that limit as it is."""
    setting = _setting(tx)
    _change(tx, call, {"running": True, "max_vms": max_vms or setting["max_vms"]}, "coordinator.started")


def stop(tx: Tx, call: Call) -> None:
    """Place nothing more; what runs goes on."""
    _change(tx, call, {**_setting(tx), "running": False}, "coordinator.stopped")


def cleanup_status(reader: Reader, call: Call, ident: str, per_host: int) -> list[tuple[CleanupRun, str]]:
    """The last runs with the names of their hosts, newest first; empty `ident`: of the control plane and all hosts."""
    names = {host.id: host.name for host in all_hosts(reader)}
    runs = reader.cleanup_runs(get_host(reader, call, ident).id if ident else None, per_host or 1)
    return [(run, names.get(run.host_id, "")) for run in runs]


def placing(reader: Reader) -> bool:
    """Whether anything is placed at all."""
    return bool(_setting(reader)["running"])


def _setting(reader: Reader) -> dict[str, Any]:
    return {"running": True, "max_vms": 0, **(reader.setting(SETTING) or {})}


def _change(tx: Tx, call: Call, setting: dict[str, Any], event: str) -> None:
    tx.set_setting(SETTING, setting)
    tx.add_events([NewEvent(TOPIC, event, {**setting, "by": call.principal.name})], call.now)
