"""The benches run; how fast is for their own output to say."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from bench import __main__ as cli


def rows(name: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    if os.geteuid() != 0:
        pytest.skip("this bench needs root")
    cli.main([name, "--json", "-n", "2"])
    *found, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert {"cpu", "kernel", "hz", "preempt", "cgroup", "python"} <= last["machine"].keys()
    assert all(row["ours"]["n"] == 2 and row["ours"]["p50"] > 0 for row in found)
    return found


def test_slot_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert {row["peer"]["name"] for row in rows("slot_build", capsys)} >= {"ip, a command per step", "pyroute2"}


def test_spawn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.spawn.RESIDENT", 8 << 20)
    assert {row["peer"]["name"] for row in rows("spawn", capsys)} >= {"subprocess, preexec_fn", "posix_spawn"}
