from __future__ import annotations

from controlplane.domain.circuit import RETRY_S, SUCCESSES, WINDOW_S, Circuit, CircuitState, observed

NOW = 1_800_000_000.0


def after(circuit: Circuit, *ends: tuple[float, bool]) -> Circuit:
    for at, ok in ends:
        circuit = observed(circuit, at, ok=ok)
    return circuit


def test_it_opens_when_half_of_a_minute_failed() -> None:
    good = [(NOW + number, True) for number in range(4)]
    bad = [(NOW + 10 + number, False) for number in range(4)]
    assert after(Circuit(), *good, *bad[:3]).opened_at is None
    opened = after(Circuit(), *good, *bad)
    assert (opened.opened_at, opened.state(NOW + 14)) == (NOW + 13, CircuitState.OPEN)
    assert opened.within(NOW + 14) == (8, 4)


def test_few_ends_and_old_ones_tell_nothing() -> None:
    assert after(Circuit(), (NOW, False), (NOW, False)).opened_at is None
    assert after(Circuit(), (NOW, False), (NOW, False), (NOW + WINDOW_S + 1, False)).opened_at is None
    assert after(Circuit(), (NOW, False)).within(NOW + WINDOW_S + 1) == (0, 0)


def opened() -> Circuit:
    return after(Circuit(), *[(NOW, False)] * 3)


def test_it_is_tried_again_and_closes_after_successes() -> None:
    circuit, later = opened(), NOW + RETRY_S
    assert circuit.state(later - 0.1) is CircuitState.OPEN
    assert circuit.state(later) is CircuitState.HALF_OPEN
    for count in range(1, SUCCESSES):
        circuit = observed(circuit, later, ok=True)
        assert (circuit.successes, circuit.state(later)) == (count, CircuitState.HALF_OPEN)
    assert observed(circuit, later, ok=True) == Circuit()


def test_one_failure_on_trial_opens_it_again() -> None:
    later = NOW + RETRY_S
    again = after(opened(), (later, True), (later, False))
    assert (again.opened_at, again.successes, again.state(later + 1)) == (later, 0, CircuitState.OPEN)


def test_what_ends_while_it_is_open_changes_no_state() -> None:
    still = after(opened(), (NOW + 1, True), (NOW + 1, False))
    assert (still.opened_at, still.successes) == (NOW, 0)
    assert still.within(NOW + 1) == (5, 4)
