"""The benches run; how fast is for their own output to say."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from bench import __main__ as cli
from bench import dispatch


def measured(name: str, capsys: pytest.CaptureFixture[str], n: int = 2) -> list[dict[str, Any]]:
    cli.main([name, "--json", "-n", str(n)])
    *found, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert {"cpu", "kernel", "hz", "preempt", "cgroup", "python"} <= last["machine"].keys()
    assert all(row["ours"]["p50"] > 0 for row in found)
    return found


def rows(name: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    if os.geteuid() != 0:
        pytest.skip("this bench needs root")
    found = measured(name, capsys)
    assert all(row["ours"]["n"] == 2 for row in found)
    return found


def test_slot_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert {row["peer"]["name"] for row in rows("slot_build", capsys)} >= {"ip, a command per step", "pyroute2"}


def test_spawn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.spawn.RESIDENT", 8 << 20)
    assert {row["peer"]["name"] for row in rows("spawn", capsys)} >= {"subprocess, preexec_fn", "posix_spawn"}


def test_placement(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.placement.FLEETS", (10, 1000))
    assert {row["peer"]["name"] for row in measured("placement", capsys, 1)} == {"naive scan"}


def test_store(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured("store", capsys, 1)
    assert {row["peer"]["name"] for row in found} == {"peewee, same rows one by one", "peewee, one create()"}


def test_dispatch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds every ticket of its graphs complete in the database, with all its events."""
    monkeypatch.setattr("bench.dispatch.HOSTS", ("bench-00", "bench-01"))
    monkeypatch.setattr("bench.dispatch.ROUND", dispatch.GRAPH * dispatch.QUARTERS)
    monkeypatch.setattr("bench.dispatch.missing", lambda: "not in tests")
    found = {row["metric"]: row for row in measured("dispatch", capsys, 1)}
    assert found["ready to the host's stream, all at work"]["ours"]["n"] == dispatch.GRAPH * dispatch.QUARTERS
    assert "no peer: not in tests" in found["time per ticket"]["note"]


def test_recovery(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.recovery.TTL_S", 3)
    monkeypatch.setattr("bench.recovery.LEAST", 1)
    assert measured("recovery", capsys, 1)[0]["ours"]["n"] == 1
