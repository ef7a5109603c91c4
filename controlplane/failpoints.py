"""Named places where a crash would hurt: `SWARM_FAILPOINT=name=kill|error|delay:MS[,name=…]` makes one happen there.

Costs a dictionary look-up when nothing is set. Meant for tests and drills, never for production.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from functools import cache

from controlplane.errors import StartError, SwarmError

VARIABLE = "SWARM_FAILPOINT"


def parse(text: str) -> dict[str, str]:
    """Raise StartError for anything but name=kill, name=error or name=delay:MS."""
    points = dict(part.partition("=")[::2] for part in text.split(",") if part)
    for name, act in points.items():
        verb, _, delay = act.partition(":")
        if not name or verb not in {"kill", "error", "delay"} or (verb == "delay") != delay.isdigit():
            raise StartError(f"{VARIABLE}: {name}={act} is none of kill, error, delay:MS")
    return points


@cache
def points() -> Mapping[str, str]:
    """Read the environment once; called at start so that a mistake in it stops the start."""
    return parse(os.environ.get(VARIABLE, ""))


def failpoint(name: str) -> None:
    """Do what the environment asks for at this place: nothing, die at once, raise SwarmError, or block for a while."""
    act = points().get(name)
    if act is None:
        return
    if act == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "error":
        raise SwarmError(f"failpoint {name}", reason="failpoint")
    time.sleep(int(act.removeprefix("delay:")) / 1000)
