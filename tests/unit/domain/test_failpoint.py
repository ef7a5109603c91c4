from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from controlplane.errors import StartError
from controlplane.failpoint import parse

CODE = "from controlplane.failpoint import hit; hit('other'); hit('here'); print('after')"


def run(armed: str) -> subprocess.CompletedProcess[str]:
    environment = {"SWARM_FAILPOINT": armed, "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)


def test_unarmed_places_do_nothing() -> None:
    assert run("").stdout == "after\n"


def test_kill_is_a_crash() -> None:
    done = run("here=kill")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


def test_error_and_delay() -> None:
    assert "failpoint here" in run("here=error").stderr
    assert run("here=delay:1,there=kill").stdout == "after\n"


@pytest.mark.parametrize(
    "text", ["here", "here=", "=kill", "here=explode", "here=delay", "here=delay:x", "here=kill:1"]
)
def test_a_failpoint_that_would_never_fire_is_refused(text: str) -> None:
    with pytest.raises(StartError, match="SWARM_FAILPOINT"):
        parse(text)
