"""The soak itself, for seconds and with simulated VMs: that it runs, samples, and comes to a verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.extent import seed


def test_a_short_soak_loses_and_leaves_nothing(root: Path, tmp_path: Path) -> None:
    out, number = tmp_path / "samples.jsonl", seed()
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--minutes", "0.2", "--sim", "--seed", str(number), "--out", str(out)],
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"seed {number}:\n{done.stdout}\n{done.stderr}"
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    sampled = {line["name"] for line in lines if line["kind"] == "sample"}
    (result,) = [line["result"] for line in lines if line["kind"] == "result"]

    assert sampled >= {"controlplane", "hostd local", "broker local"}
    assert result["tickets"] == sum(result["states"].values()) >= 34
    assert (result["problems"], result["left"]) == ([], {})
    assert "passed" in done.stdout
