from __future__ import annotations

import time

import pytest

from controlplane.errors import StartError
from controlplane.stores.store import steady_clock


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
