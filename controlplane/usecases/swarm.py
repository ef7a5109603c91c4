"""All hosts as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from controlplane.domain.call import Call
from controlplane.domain.host import Capacity, Host, HostState
from controlplane.domain.ticket import TicketState
from controlplane.ports import Reader
from controlplane.usecases.coordinator import placing
from controlplane.usecases.hosts import all_hosts


@dataclass(frozen=True, slots=True)
class SwarmStatus:
    """Capacity is that of the hosts that take work now; `agents` and `queue_depth` are the caller's own tickets."""

    hosts: int
    hosts_by_state: Mapping[HostState, int]
    hosts_connected: int
    capacity: Capacity
    used: Capacity
    vms: int
    vms_unhealthy: int
    agents: int
    queue_depth: int
    placing: bool


def swarm_status(reader: Reader, call: Call, connected: Collection[str]) -> SwarmStatus:
    """`connected` holds ids of hosts."""
    hosts = list(all_hosts(reader))
    open_ = [host for host in hosts if host.id in connected and host.state is HostState.ONLINE]
    counts = reader.ticket_counts(call.principal.tenant_id)
    alive, unhealthy = reader.vm_counts()
    return SwarmStatus(
        hosts=len(hosts),
        hosts_by_state=Counter(host.state for host in hosts),
        hosts_connected=sum(host.id in connected for host in hosts),
        capacity=_sum(open_, "capacity"),
        used=_sum(open_, "used"),
        vms=alive,
        vms_unhealthy=unhealthy,
        agents=sum(counts.get(state, 0) for state in (TicketState.ASSIGNED, TicketState.RUNNING, TicketState.WAITING)),
        queue_depth=counts.get(TicketState.READY, 0),
        placing=placing(reader),
    )


def _sum(hosts: Collection[Host], field: str) -> Capacity:
    sizes: list[Capacity] = [getattr(host, field) for host in hosts]
    return Capacity(
        vms=sum(size.vms for size in sizes),
        vcpus=sum(size.vcpus for size in sizes),
        memory_mib=sum(size.memory_mib for size in sizes),
        disk_mib=sum(size.disk_mib for size in sizes),
    )
