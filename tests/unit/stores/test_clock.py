from __future__ import annotations

import time

import pytest

from controlplane.errors import StartError
from controlplane.stores.clock import not_before, steady_clock


def test_a_step_of_the_wall_clock_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = steady_clock()
    before = now()
    assert abs(before - time.time()) < 5
    monkeypatch.setattr(time, "time", lambda: before - 3600)
    assert before <= now() < before + 60


def test_a_clock_that_was_never_set_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    with pytest.raises(StartError, match="1970"):
        steady_clock()


def test_a_clock_that_was_set_back_goes_on_from_the_newest_time() -> None:
    """Else every lease and every retry would wait until the clock is there again."""
    times = iter((1000.0, 1010.0, 1020.0))
    clock = not_before(4600.0, lambda: next(times))
    assert [clock(), clock()] == [4610.0, 4620.0]


def test_a_clock_that_is_ahead_is_left_alone() -> None:
    assert not_before(900.0, lambda: 1000.0)() == 1000.0
