from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from bench import __main__ as cli
from bench.measure import WARM_UP, Figures, Row, figures, in_turns


def test_percentiles_are_nearest_rank_over_all_samples() -> None:
    assert figures([float(value) for value in range(100, 0, -1)]) == Figures(50, 99, 100)
    assert figures([7.0]) == Figures(7, 7, 1)


def test_actions_alternate_and_only_the_warm_up_is_left_out() -> None:
    calls: list[str] = []

    def action(name: str, first: float) -> Callable[[], float]:
        def run() -> float:
            calls.append(name)
            return first if calls.count(name) <= WARM_UP else float(calls.count(name))

        return run

    ours, peer = in_turns(5, action("ours", 1e9), action("peer", 1e9))

    assert calls == ["ours", "peer"] * (5 + WARM_UP)
    assert ours == peer == Figures(WARM_UP + 3, WARM_UP + 5, 5)


def test_a_row_is_one_json_object() -> None:
    row = Row("spawn", "ms", Figures(0.2, 0.4, 10), "fork", Figures(20, 30, 10), ">= 50x")
    assert json.loads(row.to_json()) == {
        "metric": "spawn",
        "unit": "ms",
        "ours": {"p50": 0.2, "p99": 0.4, "n": 10},
        "peer": {"name": "fork", "p50": 20, "p99": 30, "n": 10},
        "ratio": 100,
        "goal": ">= 50x",
    }


def test_a_peer_that_is_missing_has_a_reason_instead_of_figures() -> None:
    row = json.loads(Row("spawn", "ms", Figures(1, 1, 1), "fork", note="not installed here").to_json())
    assert (row["peer"], row["ratio"], row["note"]) == ({"name": "fork"}, None, "not installed here")


def test_every_bench_is_listed_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([])
    listed = capsys.readouterr().out.splitlines()
    assert {"slot_build", "spawn"} <= {line.split()[0] for line in listed}
    assert all(len(line.split(maxsplit=1)) == 2 for line in listed)


@pytest.mark.parametrize("argv", [["nothing"], ["spawn", "-n", "0"], ["spawn", "-n", "many"]])
def test_wrong_arguments_are_explained(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2
    assert "python -m bench: error:" in capsys.readouterr().err
