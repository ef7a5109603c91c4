from __future__ import annotations

import random

import pytest
from rich.console import Console

from tests.soak.flat import ENOUGH, Bound, slope, trend
from tests.soak.report import MIB, faults, lives, show
from tests.soak.samples import Sample
from tests.soak.soak import Result

BOUND = Bound(0.10, 5.0)


def series(count: int, growth: float, *, noise: float = 0.0) -> list[tuple[float, float]]:
    dice = random.Random(1)
    return [(10.0 * n, 100.0 + growth * n / count + dice.uniform(-noise, noise)) for n in range(count)]


def test_a_line_has_its_slope() -> None:
    assert slope([(0.0, 1.0), (2.0, 5.0), (4.0, 9.0)]) == pytest.approx(2.0)
    assert slope([(1.0, 3.0), (1.0, 4.0)]) == 0.0


@pytest.mark.parametrize(("growth", "flat"), [(0.0, True), (8.0, True), (40.0, False)])
def test_growth_beyond_the_bound_is_no_flat_series(growth: float, *, flat: bool) -> None:
    found = trend(series(60, growth, noise=3.0))
    assert found is not None
    assert found.flat(BOUND) is flat


def test_filling_caches_in_the_first_quarter_are_no_growth() -> None:
    points = [(float(n), min(100.0, 8.0 * n)) for n in range(80)]
    found = trend(points)
    assert found is not None
    assert found.flat(BOUND)


def test_one_peak_is_no_growth() -> None:
    points = series(60, 0.0)
    points[-1] = (points[-1][0], 500.0)
    found = trend(points)
    assert found is not None
    assert found.flat(BOUND)


def test_too_little_says_nothing() -> None:
    assert trend([]) is None
    assert trend(series(ENOUGH, 1000.0)) is None


def lived(pid: int, growth: float) -> list[Sample]:
    return [
        Sample(at, "hostd local", pid, rest=True, memory=int(value * MIB), descriptors=20, threads=4)
        for at, value in series(60, growth)
    ]


def result(samples: list[Sample], **more: object) -> Result:
    named: dict[str, object] = {"left": {}, "problems": []} | more
    return Result(tickets=1, states={"completed": 1}, faults={}, samples=samples, **named)  # type: ignore[arg-type]


def test_each_process_is_judged_by_its_own_life() -> None:
    samples = lived(1, 0.0) + lived(2, 50.0)
    at_work = [Sample(5.0, "hostd local", 1, rest=False, memory=10**12, descriptors=900, threads=4)]
    assert [len(list(life.faults)) for life in lives(samples + at_work)] == [0, 1]


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (result(lived(1, 50.0)), "memory grew"),
        (result([], problems=["TKT-001 is lost"]), "TKT-001 is lost"),
        (result([], left={"taps": ["tap0"]}), "taps left: tap0"),
    ],
)
def test_a_soak_fails_for_growth_losses_and_leftovers(
    bad: Result, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert faults(result(lived(1, 0.0))) == []
    assert any(word in fault for fault in faults(bad))
    show(bad, Console(width=200))
    shown = capsys.readouterr().out
    assert word in shown
    assert "FAILED" in shown
