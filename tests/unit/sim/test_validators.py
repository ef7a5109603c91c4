"""Each rule catches a history that was made to break it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from controlplane.domain.event import Event
from controlplane.domain.project import Project, ProjectSpec
from controlplane.domain.ticket import AttemptState, TicketState, TicketType
from tests.fakes.seeds import NOW, a_pull_request, a_ticket, an_attempt
from tests.sim.evidence import Evidence, Restored
from tests.sim.history import Entry
from tests.sim.validators import clients, durable, leases, placement, tickets
from tests.sim.validators.judge import judge, without_the_lost
from tests.sim.validators.timeline import Timeline

S = TicketState
Check = Callable[[Evidence, Timeline], Iterator[str]]
HEAD = "1" * 40


def said(t: float, op: str, **fields: Any) -> Entry:
    return {"t": t, "op": op, **fields}


def move(
    t: float, before: str, after: str, *, ticket: int = 1, fence: int = 1, host: str = "hs_1", why: str = ""
) -> Entry:
    named = {"ticket_id": f"tk_{ticket}", "key": f"TKT-00{ticket}", "attempt": f"at_{ticket}_{fence}"}
    return said(t, "ticket.move", **{"from": before, "to": after}, reason=why, fence=fence, host=host, **named)


def vm(t: float, what: str, fence: int, host: str) -> Entry:
    return said(t, f"vm.{what}", host=host, ticket="tk_1", attempt=f"at_1_{fence}", fence=fence)


def lease(begin: float, end: float, **fields: Any) -> list[Entry]:
    """A lease that ended for silence."""
    why = fields.pop("why", "host_lost: silent")
    return [move(begin, "ready", "assigned", **fields), move(end, "assigned", "ready", why=why, **fields)]


START = said(0.0, "control.start", offset=0.0)
CAPACITY = {"hs_1": 1, "hs_2": 1}


def good() -> Evidence:
    """One ticket that one attempt completed, with all that belongs to it."""
    ticket = a_ticket(1, S.COMPLETED, fence=1, head=HEAD, project_id="pj_1")
    states = ["pending", "ready", "assigned", "in_review", "completed"]
    data = [{"from": a, "to": b} for a, b in pairwise(states)]
    history = [
        START,
        move(0.1, "pending", "ready", fence=0),
        said(0.1, "control.attach", host="hs_1"),
        move(1.0, "ready", "assigned"),
        said(1.1, "host.hear", host="hs_1", what="assignment", ticket="tk_1", attempt="at_1_1", fence=1),
        said(2.0, "host.say", host="hs_1", what="finished", ticket="tk_1", attempt="at_1_1", fence=1, ok=True),
        move(3.0, "assigned", "in_review"),
        move(4.0, "in_review", "completed"),
    ]
    won = an_attempt(ticket, id="at_1_1", fence=1, state=AttemptState.SUCCEEDED, head=HEAD)
    return Evidence(
        history=history,
        tickets={"tk_1": ticket},
        attempts={"tk_1": [won]},
        events={"tk_1": [Event("ticket:tk_1", n, "ticket.state", NOW, d) for n, d in enumerate(data, 1)]},
        pull_requests={"tk_1": a_pull_request(ticket, 1)},
        projects={"pj_1": Project("pj_1", "default", ProjectSpec("p", max_concurrency=1), NOW)},
        capacity=CAPACITY,
        published={"TKT-001": [HEAD]},
        heads={HEAD: ("tk_1", 1)},
    )


def history(*entries: Entry) -> Evidence:
    return replace(good(), history=[START, *entries])


def at(state: TicketState, **fields: Any) -> Evidence:
    return replace(good(), tickets={"tk_1": a_ticket(1, state, **{"project_id": "pj_1", **fields})})


def test_a_good_run_breaks_no_rule() -> None:
    assert judge(good()) == []


def test_a_drain_is_over_after_it_began_though_the_clock_read_more_before() -> None:
    evidence = history(*BEHIND)
    assert not list(placement.drains(evidence, Timeline(evidence.history)))


def test_what_a_restore_takes_back_is_not_judged() -> None:
    """What lies between backup and restore is gone from the database, and hosts did it all the same."""
    stored = [said(t, "client.created", key="k", tickets=[f"tk_{t:.0f}"]) for t in (1.0, 3.0)]
    restored = [said(4.0, "vm.run"), said(5.0, "world.restored"), said(6.0, "client.created")]
    kept = without_the_lost(history(stored[0], said(2.0, "world.backup"), stored[1], *restored))
    assert [entry["t"] for entry in kept.history] == [0.0, 1.0, 2.0, 4.0, 5.0, 6.0]
    assert kept.restored == Restored(at=5.0, since=2.0)


TWICE = [move(1, "running", "in_review"), move(2, "in_review", "running"), move(3, "running", "in_review", fence=2)]
EARLY = [*lease(1.0, 40.0)]
RENEWED = [
    move(1, "ready", "assigned"),
    said(30, "control.renewed", host="hs_1", attempts=["at_1_1"]),
    move(70, "running", "ready", why="host_lost"),
]
BEHIND = [
    move(1, "ready", "assigned"),
    said(60, "control.die"),
    said(62, "control.start", offset=-50.0),
    move(63, "assigned", "ready", why="vm_lost"),
    said(64, "operator.out", host="hs_1", deadline=5),
    said(120, "operator.back", host="hs_1"),
]
YOUNG = [*lease(1.0, 80.0), said(60.0, "control.start", offset=0.0)]
BOTH = [*lease(1, 70), vm(2, "run", 1, "hs_1"), vm(75, "run", 2, "hs_2")]
DEAF = [said(0.5, "control.attach", host="hs_1"), move(1, "ready", "assigned"), said(50, "world.end")]
GONE = [said(t, f"control.{what}", host=f"hs_{n}") for n in (1, 2, 3) for t, what in ((0.2, "attach"), (5, "detach"))]
AWAY = [said(1.0, "world.calm"), said(200.0, "world.end")]
DRAIN = [
    move(1, "ready", "assigned"),
    said(5, "operator.out", host="hs_1", deadline=5),
    said(90, "operator.back", host="hs_1"),
]
REPLAY = [
    said(1, "client.call", key="k", body="a"),
    said(2, "client.answer", key="k", answer="x"),
    said(3, "client.call", key="k", body="a"),
    said(4, "client.answer", key="k", answer="y"),
]
REUSED = [*REPLAY[:2], said(3, "client.call", key="k", body="b"), said(4, "client.answer", key="k", answer="x")]
FOUND = said(5, "control.found", links={"hs_1": ["b", 6]}, answers=["other"])
FORGOTTEN = [said(1, "client.call", key="k", body="a"), said(2, "client.answer", key="k", answer="x"), FOUND]
UNHEARD = [said(1, "control.acked", host="hs_1", boot="b", seq=7), FOUND]
OUTLIVED = [move(1, "ready", "assigned"), move(9, "running", "in_review")]
GAP = [said(n, "client.event", ticket="tk_1", seq=n, type="ticket.state") for n in (1, 3, 4)]
FULL = [move(1, "ready", "assigned"), move(2, "ready", "assigned", ticket=2)]
EPIC = {"tk_1": a_ticket(1, S.COMPLETED, type=TicketType.EPIC), "tk_2": a_ticket(2, S.FAILED, parent_id="tk_1")}
BAD: list[tuple[Check, Evidence]] = [
    (tickets.single_completion, history(*TWICE)),
    (tickets.fences, history(*lease(1, 70), move(71, "ready", "assigned", fence=1))),
    (tickets.no_zombie, history(move(1, "ready", "assigned"), move(3, "running", "in_review"))),
    (tickets.none_lost, at(S.READY)),
    (tickets.none_lost, at(S.BLOCKED)),
    (tickets.none_lost, replace(good(), rested=False)),
    (tickets.none_lost, history(said(1, "client.created", key="file-0", tickets=["tk_9"]))),
    (tickets.none_lost, replace(good(), leftovers={"hs_1": ["at_1_1"]})),
    (tickets.attempts_end, replace(good(), attempts={"tk_1": [an_attempt(a_ticket(1))]})),
    (tickets.effects, replace(good(), pending_effects=["pr:tk_1:1"])),
    (tickets.effects, replace(good(), published={"TKT-001": [HEAD, HEAD]})),
    (tickets.effects, replace(good(), heads={HEAD: ("tk_2", 1)})),
    (tickets.effects, replace(good(), pull_requests={})),
    (tickets.poison, at(S.COMPLETED, title="poison 1")),
    (tickets.poison, at(S.FAILED, causes=("agent_failed",), dead_letter=True)),
    (tickets.poison, at(S.READY, causes=("agent_failed",) * 5)),
    (tickets.events, replace(good(), events={"tk_1": good().events["tk_1"][1:]})),
    (tickets.events, at(S.FAILED)),
    (tickets.epics, replace(good(), tickets=EPIC)),
    (leases.early_expiry, history(*EARLY)),
    (leases.early_expiry, history(*RENEWED)),
    (leases.early_expiry, history(*sorted(YOUNG, key=lambda entry: float(entry["t"])))),
    (leases.late_expiry, history(*lease(1.0, 200.0))),
    (leases.two_at_work, history(*sorted(BOTH, key=lambda entry: float(entry["t"])))),
    (leases.two_at_work, history(vm(2, "run", 1, "hs_1"), vm(5, "run", 2, "hs_2"))),
    (leases.delivery, history(*DEAF)),
    (leases.returns, history(*AWAY)),
    (leases.mass_expiry, replace(history(*GONE, *lease(1, 70)), capacity={**CAPACITY, "hs_3": 1})),
    (placement.room, replace(history(*FULL), tickets={f"tk_{n}": a_ticket(n, project_id="pj_1") for n in (1, 2)})),
    (placement.order, replace(at(S.RUNNING, depends_on=("tk_2",)), history=[move(1, "ready", "assigned")])),
    (placement.stopped, history(said(0.5, "operator.stopped"), move(1, "ready", "assigned"))),
    (placement.stopped, history(said(0.5, "operator.out", host="hs_1"), move(1, "ready", "assigned"))),
    (placement.drains, history(*DRAIN)),
    (placement.drains, history(move(1, "ready", "assigned"), move(9, "running", "failed", why="host_stopping"))),
    (clients.answers, history(*REPLAY)),
    (clients.answers, history(*REUSED)),
    (clients.answers, replace(good(), tickets={f"tk_{n}": a_ticket(n, title="work 0.1") for n in (1, 2)})),
    (clients.watching, history(*GAP)),
    (durable.moves_stay, history(move(1, "ready", "waiting"))),
    (durable.moves_stay, replace(good(), history=[*good().history, move(5, "ready", "assigned", ticket=9)])),
    (durable.acknowledged, history(*FORGOTTEN)),
    (durable.acknowledged, history(*UNHEARD)),
    (durable.leases_void, replace(history(*OUTLIVED), restored=Restored(at=5, since=2))),
    (clients.unforeseen, history(said(1, "product.unforeseen", text="KeyError"))),
]


@pytest.mark.parametrize(("check", "evidence"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_rule_is_noticed(check: Check, evidence: Evidence) -> None:
    assert list(check(evidence, Timeline(evidence.history)))


def test_every_rule_has_a_history_that_breaks_it() -> None:
    every = {*tickets.CHECKS, *leases.CHECKS, *placement.CHECKS, *clients.CHECKS, *durable.CHECKS}
    assert {check for check, _ in BAD} == every
