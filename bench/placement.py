"""Decisions of the scheduler: which of the waiting tickets goes to which host, on fleets of three sizes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import count

from bench.measure import Row, clocked, in_turns
from controlplane.domain.change import replace
from controlplane.domain.host import Capacity, Host, HostState
from controlplane.domain.ticket import Isolation, Resources, Ticket, TicketSpec, TicketState
from controlplane.scheduler.demand import demand_of
from controlplane.scheduler.plan import Limits, plan
from controlplane.scheduler.snapshot import Snapshot

NAME = "placement"
SUMMARY = "decide which ticket goes to which of 10, 1,000 and 10,000 hosts: ours, a scan over all hosts"

PEER = "naive scan"
FLEETS = (10, 1000, 10_000)
BATCH = Limits().batch
"""As in production: a plan costs something once, and is made for all that waits."""
SCANNED = {10: 200, 1000: 50, 10_000: 5}
"""Decisions per round of the scan, which takes milliseconds for each on a large fleet."""
VMS = 64
ZONES = ("a", "b", "c")
GIB = 1024


def host(number: int) -> Host:
    """Of three kinds, by their label."""
    return Host(
        id=f"hs_{number:05}",
        name=f"host-{number}",
        state=HostState.ONLINE,
        isolation=Isolation.KVM_QEMU,
        capacity=Capacity(VMS, VMS, 2 * VMS * GIB, 16 * VMS * GIB),
        labels={"zone": ZONES[number % len(ZONES)]},
        images=("default",),
    )


def ticket(number: int, dice: random.Random) -> Ticket:
    """Of twenty projects, five priorities and eight shapes."""
    labels = {"zone": dice.choice(ZONES)} if dice.random() < 0.25 else {}  # noqa: PLR2004 - every fourth is picky
    size = Resources(vcpus=dice.choice((1, 2)), memory_mib=GIB, labels=labels)
    spec = TicketSpec("bench", priority=dice.randrange(5), project_id=f"pj_{dice.randrange(20)}", resources=size)
    return Ticket(f"tk_{number:08}", f"TKT-{number}", "default", spec, TicketState.READY, float(number), float(number))


class Fleet:
    """Hosts that are half full, and the same work for ours and for the scan."""

    def __init__(self, size: int) -> None:
        self.dice = random.Random(size)  # noqa: S311 - the same fleet in each run
        self.numbers = count()
        self.hosts = [host(number) for number in range(size)]
        self.snapshot = Snapshot()
        for each in self.hosts:
            self.snapshot.put_host(each)
        self.snapshot.connect([each.id for each in self.hosts])
        self.free = {each.id: each.capacity for each in self.hosts}
        for each in self.hosts:
            for _ in range(self.dice.randrange(VMS // 2)):
                self.lease(self.new(), each.id)

    def new(self) -> Ticket:
        return ticket(next(self.numbers), self.dice)

    def lease(self, one: Ticket, host_id: str) -> Ticket:
        leased = replace(one, state=TicketState.ASSIGNED, host_id=host_id)
        self.snapshot.put_ticket(leased)
        self.free[host_id] = without(self.free[host_id], demand_of(one.spec.resources))
        return leased

    def ours(self) -> float:
        """Microseconds per decision, from waiting tickets to a snapshot that holds their leases."""
        waiting = {one.id: one for one in (self.new() for _ in range(BATCH))}
        for one in waiting.values():
            self.snapshot.put_ticket(one)
        placed: list[Ticket] = []

        def decide() -> None:
            for placement in plan(self.snapshot, Limits()).placements:
                leased = replace(waiting[placement.ticket_id], state=TicketState.ASSIGNED, host_id=placement.host_id)
                self.snapshot.put_ticket(leased)
                placed.append(leased)

        taken = clocked(decide, per_second=1e6)
        for ident in waiting:
            self.snapshot.drop_ticket(ident)
        return taken / len(placed)

    def scan(self) -> float:
        """The same by looking at every host for each ticket."""
        waiting = [self.new() for _ in range(SCANNED[len(self.hosts)])]
        free = dict(self.free)
        taken = clocked(lambda: scanned(waiting, self.hosts, free), per_second=1e6)
        return taken / len(waiting)


def scanned(waiting: Sequence[Ticket], hosts: Sequence[Host], free: dict[str, Capacity]) -> list[tuple[str, str]]:
    """First the most urgent, then the oldest; each to the host that suits it and has the largest part free."""
    placed = []
    for one in sorted(waiting, key=lambda each: (each.spec.priority, each.created_at)):
        demand, labels = demand_of(one.spec.resources), one.spec.resources.labels.items()
        best, most = "", -1.0
        for each in hosts:
            left = free[each.id]
            if (
                each.state is HostState.ONLINE
                and labels <= each.labels.items()
                and demand.vms <= left.vms
                and demand.vcpus <= left.vcpus
                and demand.memory_mib <= left.memory_mib
                and demand.disk_mib <= left.disk_mib
            ):
                share = min(left.vms / each.capacity.vms, left.vcpus / each.capacity.vcpus)
                if share > most:
                    best, most = each.id, share
        if best:
            free[best] = without(free[best], demand)
            placed.append((one.id, best))
    return placed


def without(one: Capacity, other: Capacity) -> Capacity:
    return Capacity(
        one.vms - other.vms,
        one.vcpus - other.vcpus,
        one.memory_mib - other.memory_mib,
        one.disk_mib - other.disk_mib,
    )


def run(n: int) -> list[Row]:
    """Microseconds per decision; a round decides over a batch, of which the mean is one sample."""
    rows = []
    for size in FLEETS:
        fleet = Fleet(size)
        ours, scan = in_turns(n, fleet.ours, fleet.scan)
        goal = "<= 100 us (10,000/s), >= 50x" if size == FLEETS[-1] else ""
        note = f"{1e6 / ours.p50:,.0f}/s against {1e6 / scan.p50:,.0f}/s"
        rows.append(Row(f"decision, {size:,} hosts", "us", ours, PEER, scan, goal, note))
    return rows
