from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.host import Capacity, Host, HostState
from controlplane.domain.ticket import Isolation, Resources, Ticket, TicketState, TicketType
from controlplane.scheduler.demand import demand_of, fits, limits, minus
from controlplane.scheduler.plan import Limits, Plan, plan
from controlplane.scheduler.snapshot import Snapshot
from tests.fakes.seeds import NOW, a_host, a_project, a_ticket

S = TicketState


def a_snapshot(hosts: list[Host], tickets: list[Ticket], **projects: int) -> Snapshot:
    snapshot = Snapshot()
    for number, most in enumerate(projects.values(), 1):
        snapshot.put_project(a_project(number, max_concurrency=most))
    for host in hosts:
        snapshot.put_host(host)
    snapshot.connect({host.id for host in hosts})
    for ticket in tickets:
        snapshot.put_ticket(ticket, "default")
    return snapshot


def placed(made: Plan) -> list[tuple[str, str]]:
    return [(one.ticket_id, one.host_id) for one in made.placements]


def order(made: Plan) -> list[str]:
    return [one.ticket_id for one in made.placements]


def reasons(made: Plan) -> set[str]:
    return set(made.refused.values())


def small(number: int = 1, vms: int = 2, **fields: Any) -> Host:
    return a_host(number, **{"capacity": Capacity(vms=vms), **fields})


def test_priority_comes_before_fairness_and_fairness_before_age() -> None:
    tickets = [
        a_ticket(1, project_id="pj_1", created_at=NOW),
        a_ticket(2, project_id="pj_1", created_at=NOW + 1),
        a_ticket(3, project_id="pj_1", created_at=NOW + 2),
        a_ticket(4, project_id="pj_2", created_at=NOW + 3),
        a_ticket(5, project_id="pj_2", created_at=NOW + 4, priority=0),
    ]
    made = plan(a_snapshot([small(vms=9)], tickets), Limits())
    assert order(made) == ["tk_5", "tk_1", "tk_2", "tk_4", "tk_3"]


def test_what_runs_already_counts_for_fairness() -> None:
    running = [a_ticket(9, S.RUNNING, project_id="pj_1", host_id="hs_1")]
    waiting = [a_ticket(1, project_id="pj_1"), a_ticket(2, project_id="pj_2", created_at=NOW + 9)]
    assert order(plan(a_snapshot([small()], [*running, *waiting]), Limits())) == ["tk_2"]


def test_the_least_loaded_host_is_chosen() -> None:
    hosts = [small(1, 4), small(2, 4)]
    busy = a_ticket(9, S.RUNNING, host_id="hs_1")
    made = plan(a_snapshot(hosts, [busy, a_ticket(1), a_ticket(2), a_ticket(3)]), Limits())
    assert [host for _, host in placed(made)].count("hs_2") == 2
    assert placed(made)[0] == ("tk_1", "hs_2")


def test_rare_hosts_are_kept_for_those_who_need_them() -> None:
    plain, strong = small(1, 1), small(2, 1, isolation=Isolation.KVM_QEMU)
    labelled = small(3, 1, labels={"gpu": "yes"})
    asks = a_ticket(2, created_at=NOW + 9, resources=Resources(isolation=Isolation.KVM_QEMU))
    gpu = a_ticket(3, created_at=NOW + 9, resources=Resources(labels={"gpu": "yes"}))
    made = plan(a_snapshot([strong, labelled, plain], [a_ticket(1), asks, gpu]), Limits())
    assert sorted(placed(made)) == [("tk_1", "hs_1"), ("tk_2", "hs_2"), ("tk_3", "hs_3")]


@pytest.mark.parametrize(
    ("host", "resources", "reason"),
    [
        (small(), Resources(isolation=Isolation.KVM_QEMU), "no host isolates as strongly as kvm-qemu"),
        (small(images=("other",)), Resources(), "no host has the image default"),
        (small(), Resources(labels={"zone": "a"}), "no host has the label zone=a"),
        (small(labels={"zone": "b"}), Resources(labels={"zone": "a"}), "no host has the label zone=a"),
        (a_host(capacity=Capacity(4, 4, 1024)), Resources(memory_mib=2048), "asks for more than any host that could"),
        (small(vms=0), Resources(), "asks for more than any host that could"),
        (small(state=HostState.CORDONED), Resources(), "none of 1 hosts takes work now"),
        (small(state=HostState.DRAINING), Resources(), "none of 1 hosts takes work now"),
    ],
)
def test_a_ticket_that_fits_nowhere_is_told_why(host: Host, resources: Resources, reason: str) -> None:
    made = plan(a_snapshot([host], [a_ticket(1, resources=resources)]), Limits())
    assert made.placements == ()
    assert [text.startswith(reason) for text in reasons(made)] == [True]


def test_without_hosts_that_is_the_reason() -> None:
    assert reasons(plan(a_snapshot([], [a_ticket(1)]), Limits())) == {"no host is attached"}


def test_a_host_that_is_away_gets_nothing() -> None:
    snapshot = a_snapshot([small()], [a_ticket(1)])
    snapshot.connect(())
    assert reasons(plan(snapshot, Limits())) == {"none of 1 hosts takes work now"}
    snapshot.connect({"hs_1"})
    assert placed(plan(snapshot, Limits())) == [("tk_1", "hs_1")]


def test_work_runs_without_a_vm_only_where_no_host_has_any() -> None:
    sim = small(isolation=Isolation.SIM)
    assert placed(plan(a_snapshot([sim], [a_ticket(1)]), Limits())) == [("tk_1", "hs_1")]
    shut = small(2, state=HostState.OFFLINE)
    assert reasons(plan(a_snapshot([sim, shut], [a_ticket(1)]), Limits())) == {"no host isolates as strongly as tcg"}
    asked = a_ticket(1, resources=Resources(isolation=Isolation.SIM))
    assert placed(plan(a_snapshot([sim, shut], [asked]), Limits())) == [("tk_1", "hs_1")]


def test_a_projects_limit_counts_what_runs() -> None:
    running = a_ticket(9, S.WAITING, project_id="pj_1", host_id="hs_1")
    waiting = [a_ticket(number, project_id="pj_1") for number in (1, 2, 3)]
    made = plan(a_snapshot([small(vms=9)], [running, *waiting], one=2), Limits())
    assert len(made.placements) == 1
    assert reasons(made) == {"its project is at its limit of 2 at once"}


def test_the_limit_over_all_hosts_counts_what_runs() -> None:
    running = a_ticket(9, S.ASSIGNED, host_id="hs_1")
    made = plan(a_snapshot([small(vms=9)], [running, a_ticket(1), a_ticket(2)]), Limits(max_vms=2))
    assert len(made.placements) == 1
    assert reasons(made) == {"2 VMs run, which is the limit"}


def test_a_full_host_frees_its_place_when_a_ticket_ends() -> None:
    running = a_ticket(9, S.RUNNING, host_id="hs_1")
    snapshot = a_snapshot([small(vms=1)], [running, a_ticket(1)])
    assert reasons(plan(snapshot, Limits())) == {"waits for a free place"}
    snapshot.put_ticket(a_ticket(9, S.COMPLETED), "")
    assert placed(plan(snapshot, Limits())) == [("tk_1", "hs_1")]


def test_retry_delays_are_waited_for() -> None:
    snapshot = a_snapshot([small()], [a_ticket(1, not_before=NOW + 5)])
    snapshot.release_due(NOW + 4.9)
    assert plan(snapshot, Limits()).placements == ()
    assert (snapshot.next_due(), snapshot.queue_depth) == (NOW + 5, 1)
    snapshot.release_due(NOW + 5)
    assert order(plan(snapshot, Limits())) == ["tk_1"]
    assert snapshot.next_due() is None


def test_epics_are_never_placed() -> None:
    assert plan(a_snapshot([small()], [a_ticket(1, type=TicketType.EPIC)]), Limits()).placements == ()


def test_a_batch_is_bounded_and_says_so() -> None:
    made = plan(a_snapshot([small(vms=9)], [a_ticket(number) for number in range(5)]), Limits(batch=3))
    assert (len(made.placements), made.more) == (3, True)


def test_planning_changes_nothing() -> None:
    snapshot = a_snapshot([small(1), small(2)], [a_ticket(number) for number in range(9)])
    assert plan(snapshot, Limits()) == plan(snapshot, Limits())


HOSTS = st.lists(
    st.builds(
        lambda vms, memory, isolation, label, state: (vms, memory, isolation, label, state),
        st.integers(0, 4),
        st.sampled_from([0, 1024, 2048]),
        st.sampled_from([Isolation.TCG, Isolation.KVM_QEMU]),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from([HostState.ONLINE, HostState.ONLINE, HostState.CORDONED]),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(HOSTS, st.integers(0, 30), st.integers(0, 6), st.integers(0, 3), st.integers(0, 2**32))
def test_plans_are_sound_and_leave_nothing_that_would_fit(
    rows: list[tuple[int, int, Isolation, str, HostState]], count: int, max_vms: int, most: int, seed: int
) -> None:
    chance = random.Random(seed)
    hosts = {
        f"hs_{n}": small(
            n, vms, capacity=Capacity(vms, 0, memory, 0), isolation=kind, labels=labels(label), state=state
        )
        for n, (vms, memory, kind, label, state) in enumerate(rows)
    }
    tickets = {f"tk_{n}": some_ticket(n, chance, sorted(hosts)) for n in range(count)}
    snapshot = a_snapshot(list(hosts.values()), list(tickets.values()), one=most, two=0)
    made = plan(snapshot, Limits(max_vms=max_vms))
    free = {host.id: limits(host.capacity) for host in hosts.values()}
    leased = [ticket for ticket in tickets.values() if ticket.state is S.RUNNING]
    for ticket in leased:
        free[ticket.host_id] = minus(free[ticket.host_id], demand_of(ticket.spec.resources))
    running = [ticket.spec.project_id for ticket in leased]
    for ticket_id, host_id in placed(made):
        ticket, host = tickets.pop(ticket_id), hosts[host_id]
        assert ticket.state is S.READY
        assert not max_vms or len(running) < max_vms
        assert not most or ticket.spec.project_id != "pj_1" or running.count("pj_1") < most
        assert suits(ticket, host)
        assert fits(demand_of(ticket.spec.resources), free[host_id])
        free[host_id] = minus(free[host_id], demand_of(ticket.spec.resources))
        running.append(ticket.spec.project_id)
    if max_vms and len(running) >= max_vms:
        return
    for ticket in tickets.values():
        held = ticket.spec.project_id == "pj_1" and most and running.count("pj_1") >= most
        room = [
            one for one in hosts.values() if suits(ticket, one) and fits(demand_of(ticket.spec.resources), free[one.id])
        ]
        assert ticket.state is not S.READY or held or not room


def labels(label: str) -> dict[str, str]:
    return {"zone": label} if label else {}


def some_ticket(number: int, chance: random.Random, hosts: list[str]) -> Ticket:
    resources = Resources(
        memory_mib=chance.choice([0, 1024]),
        isolation=chance.choice([Isolation.UNSPECIFIED, Isolation.KVM_QEMU]),
        labels=labels(chance.choice(["", "", "a"])),
    )
    fields: dict[str, Any] = {"project_id": f"pj_{chance.choice([1, 2])}", "priority": chance.randrange(3)}
    if hosts and chance.random() < 0.2:
        return a_ticket(number, S.RUNNING, host_id=chance.choice(hosts), resources=resources, **fields)
    return a_ticket(number, resources=resources, **fields)


def suits(ticket: Ticket, host: Host) -> bool:
    asked = ticket.spec.resources
    strong = host.isolation >= (asked.isolation or Isolation.TCG)
    return host.state is HostState.ONLINE and strong and asked.labels.items() <= host.labels.items()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(list(S)), st.integers(0, 2)), max_size=40))
def test_a_snapshot_kept_up_to_date_equals_one_made_anew(changes: list[tuple[int, TicketState, int]]) -> None:
    hosts = [small(number) for number in range(3)]
    kept, last = a_snapshot(hosts, []), {}
    for number, state, host in changes:
        leased = state in {S.ASSIGNED, S.RUNNING, S.WAITING}
        last[number] = a_ticket(number, state, host_id=f"hs_{host}" if leased else "", priority=host)
        kept.put_ticket(last[number], "default")
    anew = a_snapshot(hosts, list(last.values()))
    assert (kept.queues, list(kept.pools), kept.kinds) == (anew.queues, list(anew.pools), anew.kinds)
    assert (+kept.running, kept.leased, kept.queue_depth) == (+anew.running, anew.leased, anew.queue_depth)
    for number in last:
        kept.drop_ticket(f"tk_{number}")
    empty = a_snapshot(hosts, [])
    assert (kept.queues, list(kept.pools), kept.leased) == (empty.queues, list(empty.pools), 0)


def avoiding(snapshot: Snapshot, ticket: Ticket, host_id: str) -> Snapshot:
    snapshot.put_ticket(ticket, "default", host_id)
    return snapshot


def test_a_host_that_failed_a_ticket_is_avoided_even_when_it_has_the_most_room() -> None:
    busy = a_ticket(9, S.RUNNING, host_id="hs_2")
    snapshot = avoiding(a_snapshot([small(1), small(2)], [busy]), a_ticket(1), "hs_1")
    assert placed(plan(snapshot, Limits())) == [("tk_1", "hs_2")]


def test_of_equal_hosts_the_one_that_failed_is_avoided_and_others_may_still_use_it() -> None:
    hosts = [small(number, 1) for number in (1, 2, 3)]
    snapshot = a_snapshot(hosts, [a_ticket(number, created_at=NOW + number) for number in (2, 3)])
    made = dict(placed(plan(avoiding(snapshot, a_ticket(1), "hs_1"), Limits())))
    assert made["tk_1"] != "hs_1"
    assert set(made.values()) == {"hs_1", "hs_2", "hs_3"}


@pytest.mark.parametrize("others", [[], [small(2, 1, state=HostState.CORDONED)]])
def test_the_host_that_failed_is_used_when_there_is_no_other(others: list[Host]) -> None:
    snapshot = avoiding(a_snapshot([small(1), *others], []), a_ticket(1), "hs_1")
    assert placed(plan(snapshot, Limits())) == [("tk_1", "hs_1")]


def test_a_ticket_forgets_what_it_avoided_once_it_is_placed() -> None:
    snapshot = avoiding(a_snapshot([small(1)], []), a_ticket(1), "hs_1")
    snapshot.put_ticket(a_ticket(1, S.ASSIGNED, host_id="hs_1"), "default")
    assert snapshot.avoid == {}


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), max_size=12), st.lists(st.integers(1, 3), max_size=4))
def test_avoiding_loses_no_place_and_gives_none_twice(asked: list[tuple[int, int]], rooms: list[int]) -> None:
    hosts = [small(number, vms) for number, vms in enumerate(rooms, 1)]
    snapshot = a_snapshot(hosts, [])
    for number, (_, avoided) in enumerate(asked, 1):
        snapshot.put_ticket(a_ticket(number, created_at=NOW + number), "default", f"hs_{avoided}" if avoided else "")
    made = placed(plan(snapshot, Limits()))
    used = [host_id for _, host_id in made]
    assert len(made) == min(len(asked), sum(rooms))
    assert all(used.count(host.id) <= host.capacity.vms for host in hosts)
