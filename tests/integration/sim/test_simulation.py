"""A quick part of `make sim`: seeds that no rule is broken in, the same again for the same seed, and a fleet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.run import report, run_seed
from tests.sim.scenario import RESTORING, Scenario, scaled

SEEDS = range(1, 13)
RESTORED = range(1, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_rule_is_broken(seed: int) -> None:
    result = run_seed(seed, Scenario(), keep=Path(".cache/sim"))
    assert not result.problems, report(result, Scenario())


@pytest.mark.parametrize("seed", RESTORED)
def test_a_restored_backup_loses_nothing_older_and_no_rule_is_broken(seed: int) -> None:
    result = run_seed(seed, RESTORING, keep=Path(".cache/sim"))
    assert not result.problems, report(result, RESTORING)
    assert result.ops["world.restored"] == 1


def test_a_seed_has_one_history_whatever_the_process() -> None:
    """Sets of strings are in another order there: nothing may hang on that."""
    here = run_seed(3, Scenario())
    command = [sys.executable, "-m", "tests.sim", "--seed", "3"]
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"history {here.digest}" in there.stdout
    assert run_seed(4, Scenario()).digest != here.digest


def test_a_fleet_under_faults_loses_nothing() -> None:
    scenario = scaled(hosts=25, tickets=120)
    result = run_seed(1, scenario, keep=Path(".cache/sim"))
    assert not result.problems, report(result, scenario)
    assert result.ops["host.die"]
    assert result.ops["network.fault"]
