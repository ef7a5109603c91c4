from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.failure import cause_of
from controlplane.domain.lease import TIMES, LeaseRef, LeaseTimes
from controlplane.domain.retry import RetryTimes
from controlplane.domain.ticket import Attempt, AttemptState, BootTier, BootTiming, Ticket, TicketState
from controlplane.errors import InvalidInput, StaleFence
from controlplane.ports import Store, Tx
from controlplane.usecases import placement
from controlplane.usecases.placement import AgentEvent, AttemptResult
from tests.fakes.seeds import NOW, a_ticket, an_attempt

S = TicketState
LATER = NOW + 10
HEAD = "a" * 40
BOOT = BootTiming(BootTier.T1, 2000, 9000, 12000)
OK = AttemptResult(ok=True, head=HEAD, base="b" * 40, reason="done")


def leased(number: int = 1, state: TicketState = S.ASSIGNED, host: str = "hs_1", **fields: Any) -> Ticket:
    held: dict[str, Any] = {"fence": 2, "attempts": 2, "host_id": host, "attempt_id": f"at_{number}"}
    held["lease_expires_at"] = NOW + TIMES.ttl_s
    return a_ticket(number, state, **{**held, **fields})


def ref(number: int = 1, fence: int = 2, attempt: str = "") -> LeaseRef:
    return LeaseRef(attempt or f"at_{number}", f"tk_{number}", fence)


async def add(store: Store, *tickets: Ticket) -> None:
    def work(tx: Tx) -> None:
        tx.add_tickets(tickets)
        tx.add_attempts([an_attempt(one, id=one.attempt_id, host_id=one.host_id) for one in tickets if one.attempt_id])

    await store.write(work)


async def look(store: Store, number: int = 1) -> tuple[Ticket, Attempt | None]:
    (ticket,) = await store.read(lambda reader: reader.tickets_by_id([f"tk_{number}"]))
    return ticket, await store.read(lambda reader: reader.attempt(f"at_{number}"))


CALLS: dict[str, Any] = {
    "started": lambda tx, host, r: placement.started(tx, host, r, LATER, vm_id="vm_1", boot=BOOT),
    "running": lambda tx, host, r: placement.running(tx, host, r, LATER, BOOT),
    "finished": lambda tx, host, r: placement.finished(tx, host, r, LATER, OK),
    "lost": lambda tx, host, r: placement.lost(tx, host, r, LATER, cause="vm_lost", reason=""),
    "agent_events": lambda tx, host, r: placement.agent_events(tx, host, r, LATER, [AgentEvent(1, "log", "hi")]),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("hs_2", ref()),
        ("hs_1", ref(fence=1)),
        ("hs_1", ref(fence=3)),
        ("hs_1", ref(attempt="at_2")),
        ("hs_1", LeaseRef("at_1", "tk_2", 2)),
        ("hs_1", ref(9)),
    ],
)
async def test_a_host_writes_only_what_it_holds_now(store: Store, call: str, host: str, named: LeaseRef) -> None:
    await add(store, leased(1), leased(2, host="hs_2"))
    before = await look(store)
    with pytest.raises(StaleFence):
        await store.write(lambda tx: CALLS[call](tx, host, named))
    assert await look(store) == before
    assert await store.read(lambda reader: reader.events("ticket:tk_1", 0, 10)) == []


@pytest.mark.parametrize("call", CALLS)
async def test_what_is_over_stays_over(store: Store, call: str) -> None:
    await add(store, leased())
    await store.write(lambda tx: placement.finished(tx, "hs_1", ref(), LATER, OK))
    before = await look(store)
    with pytest.raises(StaleFence):
        await store.write(lambda tx: CALLS[call](tx, "hs_1", ref()))
    assert await look(store) == before


async def test_an_attempt_from_start_to_end(store: Store) -> None:
    await add(store, leased())
    await store.write(lambda tx: CALLS["started"](tx, "hs_1", ref()))
    await store.write(lambda tx: CALLS["running"](tx, "hs_1", ref()))
    ticket, attempt = await look(store)
    assert attempt is not None
    assert (ticket.state, attempt.state, attempt.vm_id) == (S.RUNNING, AttemptState.RUNNING, "vm_1")
    assert (attempt.boot, attempt.started_at) == (BOOT, LATER)
    await store.write(lambda tx: CALLS["finished"](tx, "hs_1", ref()))
    ticket, attempt = await look(store)
    assert attempt is not None
    assert (ticket.state, ticket.head, ticket.host_id) == (S.IN_REVIEW, HEAD, "")
    assert (attempt.state, attempt.head, attempt.finished_at) == (AttemptState.SUCCEEDED, HEAD, LATER)


async def test_running_may_be_said_twice(store: Store) -> None:
    await add(store, leased(state=S.WAITING))
    await store.write(lambda tx: CALLS["running"](tx, "hs_1", ref()))
    assert (await look(store))[0].state is S.WAITING


@pytest.mark.parametrize(
    ("result", "cause", "state"),
    [
        (AttemptResult(ok=False, phase="agent"), "agent_crashed", AttemptState.FAILED),
        (AttemptResult(ok=False, phase="tests"), "tests_failed", AttemptState.FAILED),
        (AttemptResult(ok=False, phase="prepare"), "prepare_failed", AttemptState.FAILED),
        (AttemptResult(ok=False, phase="push"), "push_failed", AttemptState.FAILED),
        (AttemptResult(ok=False, phase="made up"), "agent_crashed", AttemptState.FAILED),
        (AttemptResult(ok=False, phase="agent", guest_cause="agent_gave_up"), "agent_gave_up", AttemptState.FAILED),
        (AttemptResult(ok=False, phase="push", guest_cause="checks_refused"), "checks_refused", AttemptState.FAILED),
        (AttemptResult(ok=False, phase="tests", guest_cause="host_lost"), "tests_failed", AttemptState.FAILED),
        (AttemptResult(ok=False, cause="upstream_failed"), "upstream_down", AttemptState.FAILED),
        (AttemptResult(ok=False, cause="timeout"), "timeout", AttemptState.FAILED),
        (AttemptResult(ok=True, head=HEAD, cause="vm_lost"), "vm_lost", AttemptState.LOST),
        (AttemptResult(ok=False, cause="made up"), "host_failed", AttemptState.LOST),
    ],
)
async def test_how_it_ended_is_whose_fault_it_was(
    store: Store, result: AttemptResult, cause: str, state: AttemptState
) -> None:
    await add(store, leased(state=S.RUNNING))
    await store.write(lambda tx: placement.finished(tx, "hs_1", ref(), LATER, result))
    ticket, attempt = await look(store)
    assert attempt is not None
    again = cause != "agent_gave_up"
    assert (ticket.state, ticket.causes, ticket.dead_letter) == (S.READY if again else S.FAILED, (cause,), not again)
    assert (attempt.state, attempt.cause) == (state, cause)
    (failure,) = await store.read(lambda reader: reader.failures("tk_1"))
    assert (failure.attempt_id, failure.host_id, failure.agent, failure.at) == ("at_1", "hs_1", "echo", LATER)
    assert (failure.cause, failure.fault) == (cause, cause_of(cause).fault)
    assert failure.delay_s == (pytest.approx(ticket.not_before - LATER) if again else None)


@pytest.mark.parametrize("head", ["main", "-x", "a" * 39, "A" * 40, "a" * 40 + "\n"])
async def test_a_head_is_an_object_id_or_refused(store: Store, head: str) -> None:
    await add(store, leased(state=S.RUNNING))
    with pytest.raises(InvalidInput):
        await store.write(lambda tx: placement.finished(tx, "hs_1", ref(), LATER, AttemptResult(ok=True, head=head)))
    assert (await look(store))[0].state is S.RUNNING


async def test_a_renewal_prolongs_what_is_held_and_names_the_rest(store: Store) -> None:
    await add(store, leased(1), leased(2, host="hs_2"), leased(3, S.COMPLETED))
    asked = (ref(1), ref(1, fence=1), ref(2), ref(3), ref(9))
    answer = await store.write(lambda tx: placement.renew(tx, "hs_1", asked, LATER))
    assert (answer.renewed, answer.stale) == ((ref(1),), asked[1:])
    assert (await look(store, 1))[0].lease_expires_at == LATER + TIMES.ttl_s
    assert (await look(store, 2))[0].lease_expires_at == NOW + TIMES.ttl_s


async def test_a_renewal_that_comes_late_takes_nothing_back(store: Store) -> None:
    await add(store, leased())
    for now in (LATER, NOW):
        await store.write(lambda tx, now=now: placement.renew(tx, "hs_1", [ref()], now))  # type: ignore[misc]
    assert (await look(store))[0].lease_expires_at == LATER + TIMES.ttl_s


async def test_a_host_that_comes_back_settles_its_leases(store: Store) -> None:
    await add(
        store, leased(1, S.RUNNING), leased(2, S.RUNNING), leased(3, S.ASSIGNED), leased(4, S.RUNNING, host="hs_2")
    )
    answer = await store.write(lambda tx: placement.hello(tx, "hs_1", [ref(1), ref(8)], LATER, rebooted=False))
    assert (answer.renewed, answer.stale) == ((ref(1),), (ref(8),))
    (again,) = answer.redeliver
    assert (again.ticket.id, again.attempt.id, again.work.agents[0].name) == ("tk_3", "at_3", "echo")
    found = [(await look(store, number))[0] for number in (1, 2, 3, 4)]
    assert [one.state for one in found] == [S.RUNNING, S.READY, S.ASSIGNED, S.RUNNING]
    assert found[1].causes == ("vm_lost",)


async def test_a_host_daemon_that_is_new_has_lost_what_it_does_not_name(store: Store) -> None:
    await add(store, leased(1, S.RUNNING), leased(2, S.ASSIGNED))
    answer = await store.write(lambda tx: placement.hello(tx, "hs_1", [ref(1)], LATER, rebooted=True))
    assert answer.redeliver == ()
    assert [(await look(store, number))[0].state for number in (1, 2)] == [S.RUNNING, S.READY]


async def test_agents_speak_through_events(store: Store) -> None:
    await add(store, leased(state=S.RUNNING))
    spoken = [
        AgentEvent(1, "log", "one", gap=2),
        AgentEvent(2, "blocked", "pypi, evil"),
        AgentEvent(3, "usage", "", {"cost": float("nan"), "list": [1.0, float("inf")]}, 7.0),
        AgentEvent(4, "log", "last"),
    ]
    await store.write(lambda tx: placement.agent_events(tx, "hs_1", ref(), LATER, spoken))
    events = await store.read(lambda reader: reader.events("ticket:tk_1", 0, 10))
    assert [event.type for event in events] == ["agent.log", "call.blocked", "agent.usage", "agent.log"]
    assert events[0].data == {"attempt": "at_1", "seq": 1, "text": "one", "gap": 2}
    assert events[2].data["data"] == {"cost": None, "list": [1.0, None]}
    assert (await look(store))[0].last_log == "last"


@pytest.mark.parametrize("state", [S.ASSIGNED, S.RUNNING])
async def test_a_question_makes_the_ticket_wait(store: Store, state: TicketState) -> None:
    await add(store, leased(state=state))
    asked = [AgentEvent(1, "log", "hm"), AgentEvent(2, "question", "Which?")]
    await store.write(lambda tx: placement.agent_events(tx, "hs_1", ref(), LATER, asked))
    ticket, _ = await look(store)
    assert (ticket.state, ticket.question, ticket.last_log) == (S.WAITING, "Which?", "hm")


async def test_a_lease_named_a_hundred_thousand_times_is_renewed_and_answered_once(store: Store) -> None:
    await add(store, leased())
    refs = [ref(), ref(fence=1)] * 50_000
    answer = await store.write(lambda tx: placement.renew(tx, "hs_1", refs, LATER))
    assert (answer.renewed, answer.stale) == ((ref(),), (ref(fence=1),))


async def test_the_times_of_the_process_say_when_it_is_tried_again(store: Store) -> None:
    await add(store, leased(1, S.RUNNING), leased(2, S.RUNNING))
    times = LeaseTimes(retry=RetryTimes((0.0,)))
    failed = AttemptResult(ok=False, phase="agent")
    await store.write(lambda tx: placement.finished(tx, "hs_1", ref(1), LATER, failed, times=times))
    await store.write(lambda tx: placement.lost(tx, "hs_1", ref(2), LATER, cause="vm_lost", reason="", times=times))
    assert [(await look(store, number))[0].not_before for number in (1, 2)] == [LATER, LATER]


CUT_OFF: dict[str, Any] = {"at_work": True, "cause": "host_stopping", "reason": "its host was drained"}


async def test_what_was_cut_off_waits_for_the_stop_of_its_vm(store: Store) -> None:
    await add(store, ticket := leased(1, S.RUNNING))
    await store.write(lambda tx: placement.lose_all(tx, [ticket], LATER, **CUT_OFF))
    assert (await look(store))[0].not_before == ticket.lease_expires_at
    for host, named in (("hs_2", ref()), ("hs_1", ref(attempt="at_9"))):
        await store.write(lambda tx, h=host, r=named: placement.stopped(tx, h, r, LATER))  # type: ignore[misc]
        assert (await look(store))[0].not_before == ticket.lease_expires_at
    await store.write(lambda tx: placement.stopped(tx, "hs_1", ref(), LATER))
    assert (await look(store))[0].not_before == 0


async def test_the_stop_of_a_vm_shortens_no_retry_delay(store: Store) -> None:
    await add(store, ticket := leased(1, S.RUNNING, causes=("vm_lost",)))
    await store.write(lambda tx: placement.lose_all(tx, [ticket], LATER, cause="host_lost", reason="gone"))
    due = (await look(store))[0].not_before
    assert due > LATER
    await store.write(lambda tx: placement.stopped(tx, "hs_1", ref(), LATER))
    assert (await look(store))[0].not_before == due
