"""The `swarm` command as people use it: a process with output and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SWARM = Path(sys.executable).with_name("swarm")
PATIENCE_S = 240.0


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, which has to be exactly one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error document on stderr of a command that was asked for JSON."""
        error: dict[str, Any] = json.loads(self.err.splitlines()[-1])["error"]
        return error


def swarm(*args: str, environment: Mapping[str, str], code: int | None = 0) -> Done:
    """Runs it to its end; asserts the exit code unless `code` is None."""
    with start(*args, environment=environment) as child:
        out, err = child.communicate(timeout=PATIENCE_S)
    done = Done(child.returncode, out, err)
    assert code is None or done.code == code, f"swarm {' '.join(args)} ended with {done.code}:\n{out}\n{err}"
    return done


def start(*args: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Starts it and leaves it to the caller; its streams are pipes."""
    return subprocess.Popen(
        [SWARM, *args],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
