"""What the scheduler knows, in memory, kept up to date change by change.

Waiting tickets stand in queues by (project, shape), hosts in pools by kind and there in buckets by what is free: a plan
looks at queues and buckets, whose number does not grow with that of tickets and hosts.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.domain.claim import is_external
from controlplane.domain.host import Capacity, Host, HostState
from controlplane.domain.project import Project
from controlplane.domain.ticket import LEASED, Isolation, Ticket, TicketState, TicketType
from controlplane.scheduler.demand import NOTHING, Shape, demand_of, minus, plus, shape_of
from controlplane.scheduler.feasible import Kind, kind_of
from controlplane.scheduler.pool import Pool
from controlplane.scheduler.rank import Entry

ProjectKey = tuple[str, str]  # tenant id, project id
QueueKey = tuple[ProjectKey, Shape]


@dataclass(frozen=True, slots=True)
class _Lease:
    host_id: str
    project: ProjectKey
    demand: Capacity


@dataclass(slots=True)
class Snapshot:
    """Not thread-safe; `put_*` replaces what was known of the same id."""

    queues: dict[QueueKey, list[Entry]] = field(default_factory=dict)
    running: Counter[ProjectKey] = field(default_factory=Counter)
    projects: dict[ProjectKey, Project] = field(default_factory=dict)
    avoid: dict[str, str] = field(default_factory=dict)  # ticket id -> the host whose fault its last end was
    _waiting: dict[str, tuple[QueueKey, Entry]] = field(default_factory=dict)
    _delayed: dict[str, tuple[float, Ticket, str]] = field(default_factory=dict)
    _delays: list[tuple[float, str]] = field(default_factory=list)
    _leases: dict[str, _Lease] = field(default_factory=dict)
    _load: dict[str, Capacity] = field(default_factory=dict)
    _hosts: dict[str, Host] = field(default_factory=dict)
    _connected: frozenset[str] = frozenset()
    _pools: dict[Kind, Pool] = field(default_factory=dict)
    _kinds: dict[str, Kind] = field(default_factory=dict)  # of every known host
    _places: dict[str, tuple[Pool, Capacity]] = field(default_factory=dict)
    _real: int = 0
    _claimed: int = 0

    def put_ticket(self, ticket: Ticket, agent_image: str = "", avoid: str = "") -> None:
        """`agent_image` counts where the ticket names no image; the host to `avoid` is its last resort."""
        held = self._leases.get(ticket.id)
        if held and held.host_id == ticket.host_id and ticket.state in LEASED:
            return  # it runs where it ran: nothing that a plan looks at has changed
        self.drop_ticket(ticket.id)
        if avoid:
            self.avoid[ticket.id] = avoid
        if ticket.spec.type is TicketType.EPIC:
            return
        if ticket.state is TicketState.READY:
            self._delay(ticket, agent_image) if ticket.not_before else self._enqueue(ticket, agent_image)
        elif ticket.state in LEASED:
            self._lease(ticket)

    def drop_ticket(self, ticket_id: str) -> None:
        """Forgets a ticket; one that is not known is none to forget."""
        self._delayed.pop(ticket_id, None)
        self.avoid.pop(ticket_id, None)
        if place := self._waiting.pop(ticket_id, None):
            key, entry = place
            queue = self.queues[key]
            del queue[bisect_left(queue, entry)]
            if not queue:
                del self.queues[key]
        if lease := self._leases.pop(ticket_id, None):
            self.running[lease.project] -= 1
            self._claimed -= is_external(lease.host_id)
            self._charge(lease.host_id, minus(self._load[lease.host_id], lease.demand))

    def put_host(self, host: Host) -> None:
        if self._hosts.get(host.id) == host:  # most are, when a thousand of them come back one by one
            return
        self.drop_host(host.id)
        self._hosts[host.id] = host
        self._kinds[host.id] = kind_of(host)
        self._real += host.isolation > Isolation.SIM
        self._open(host.id)

    def drop_host(self, host_id: str) -> None:
        """Forgets a host, not what is leased to it."""
        self._close(host_id)
        if host := self._hosts.pop(host_id, None):
            self._real -= host.isolation > Isolation.SIM

    def connect(self, host_ids: Collection[str]) -> None:
        """Says which hosts are attached now; only those get work."""
        if host_ids is self._connected:
            return
        connected = frozenset(host_ids)
        changed = connected ^ self._connected
        self._connected = connected
        for host_id in sorted(changed):  # places are chosen in this order
            self._close(host_id)
            self._open(host_id)

    def put_project(self, project: Project) -> None:
        self.projects[project.tenant_id, project.id] = project

    def release_due(self, now: float) -> None:
        """Lets tickets whose retry delay is over stand in their queue."""
        while self._delays and self._delays[0][0] <= now:
            at, ticket_id = heapq.heappop(self._delays)
            if (delayed := self._delayed.get(ticket_id)) and delayed[0] == at:
                del self._delayed[ticket_id]
                self._enqueue(delayed[1], delayed[2])

    def next_due(self) -> float | None:
        """When the next retry delay is over."""
        return self._delays[0][0] if self._delays else None

    @property
    def queue_depth(self) -> int:
        """Tickets that wait for a place, retry delays included."""
        return len(self._waiting) + len(self._delayed)

    @property
    def leased(self) -> int:
        return len(self._leases)

    @property
    def vms(self) -> int:
        """Leases of hosts: programs that claim tickets run no VM of ours."""
        return len(self._leases) - self._claimed

    @property
    def real(self) -> bool:
        """Whether any known host, open or not, runs VMs."""
        return self._real > 0

    @property
    def closed(self) -> int:
        """Hosts that are known but take no work now."""
        return len(self._hosts) - len(self._places)

    @property
    def pools(self) -> Collection[Pool]:
        """Hosts that take work, those of a kind together."""
        return self._pools.values()

    @property
    def kinds(self) -> Collection[Kind]:
        return self._pools.keys()

    @property
    def hosts(self) -> Mapping[str, Host]:
        return self._hosts

    def waiting_in(self, key: QueueKey) -> Iterator[tuple[str, str]]:
        """(key, id) of the tickets of one queue, first come first."""
        return ((entry[2], entry[3]) for entry in self.queues.get(key, ()))

    def _enqueue(self, ticket: Ticket, agent_image: str) -> None:
        shape = shape_of(ticket.spec.resources, agent_image)
        key = ((ticket.tenant_id, ticket.spec.project_id), shape)
        entry = (ticket.spec.priority, ticket.created_at, ticket.key, ticket.id)
        insort(self.queues.setdefault(key, []), entry)
        self._waiting[ticket.id] = (key, entry)

    def _delay(self, ticket: Ticket, agent_image: str) -> None:
        self._delayed[ticket.id] = (ticket.not_before, ticket, agent_image)
        heapq.heappush(self._delays, (ticket.not_before, ticket.id))

    def _lease(self, ticket: Ticket) -> None:
        lease = _Lease(ticket.host_id, (ticket.tenant_id, ticket.spec.project_id), demand_of(ticket.spec.resources))
        self._leases[ticket.id] = lease
        self.running[lease.project] += 1
        self._claimed += is_external(lease.host_id)
        self._charge(lease.host_id, plus(self._load.get(lease.host_id, NOTHING), lease.demand))

    def _charge(self, host_id: str, load: Capacity) -> None:
        if load == NOTHING:
            self._load.pop(host_id, None)
        else:
            self._load[host_id] = load
        if place := self._places.get(host_id):
            pool, before = place
            after = minus(pool.kind.capacity, load)
            pool.remove(host_id, before)
            pool.add(host_id, after)
            self._places[host_id] = pool, after

    def _open(self, host_id: str) -> None:
        host = self._hosts.get(host_id)
        if host is None or host.state is not HostState.ONLINE or host_id not in self._connected:
            return
        kind = self._kinds[host_id]
        pool = self._pools.get(kind) or self._pools.setdefault(kind, Pool(kind))
        free = minus(kind.capacity, self._load.get(host_id, NOTHING))
        pool.add(host_id, free)
        self._places[host_id] = pool, free

    def _close(self, host_id: str) -> None:
        if (place := self._places.pop(host_id, None)) is None:
            return
        pool, free = place
        pool.remove(host_id, free)
        if not pool.size:
            del self._pools[pool.kind]
