from __future__ import annotations

from controlplane.domain.ticket import TicketState
from controlplane.scheduler.gate import Gate, Gated
from tests.fakes.seeds import a_ticket

S = TicketState


def gated(number: int, state: TicketState = S.READY, priority: int = 5) -> Gated:
    return Gated(a_ticket(number, state, priority=priority), "claude", "")


def turn(gate: Gate, room: int | None) -> tuple[list[str], list[str]]:
    passing, called = gate.turn(room)
    return [each.ticket.id for each in passing], list(called)


def test_a_closed_circuit_lets_everything_pass_once() -> None:
    gate = Gate("claude")
    gate.put(gated(1))
    gate.put(gated(2))
    assert turn(gate, None) == (["tk_1", "tk_2"], [])
    assert turn(gate, None) == ([], [])
    assert list(gate.waiting()) == []


def test_an_open_one_calls_back_what_still_waits() -> None:
    gate = Gate("claude")
    for number in (1, 2):
        gate.put(gated(number))
    turn(gate, None)
    gate.put(gated(1, S.ASSIGNED))
    gate.put(gated(3))
    assert turn(gate, 0) == ([], ["tk_2"])
    assert [key for key, _ in gate.waiting("default")] == ["TKT-003", "TKT-002"]
    assert list(gate.waiting("other")) == []


def test_on_trial_the_first_passes_when_none_is_live() -> None:
    gate = Gate("claude")
    for each in (gated(1), gated(2, priority=1), gated(3, S.RUNNING)):
        gate.put(each)
    assert turn(gate, 1) == ([], [])
    gate.put(gated(3, S.COMPLETED))
    assert turn(gate, 1) == (["tk_2"], [])
    assert turn(gate, 1) == ([], [])
    gate.put(gated(2, S.ASSIGNED))
    assert turn(gate, 1) == ([], [])
    gate.put(gated(2, S.IN_REVIEW))
    assert turn(gate, None) == (["tk_1"], [])
