"""Named places where a crash would hurt. `SWARM_FAILPOINT=name=kill|error|delay:ms[,...]` arms them; free otherwise."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

from controlplane.errors import StartError, Unavailable

VARIABLE: Final = "SWARM_FAILPOINT"


def parse(text: str) -> dict[str, str]:
    """`name=action` pairs by name; StartError for an action that does not exist."""
    armed = {}
    for item in filter(None, text.split(",")):
        name, _, action = item.partition("=")
        kind, _, milliseconds = action.partition(":")
        fits = (kind in {"kill", "error"} and not milliseconds) or (kind == "delay" and milliseconds.isdecimal())
        if not name or not fits:
            raise StartError(f"{VARIABLE}: {item!r} is not name=kill, name=error or name=delay:MILLISECONDS")
        armed[name] = action
    return armed


_armed: Mapping[str, str] | None = None
_watcher: Callable[[str], None] | None = None


def watch(watcher: Callable[[str], None] | None) -> None:
    """Tell somebody of every place that is passed, who may raise there; None ends it."""
    global _watcher  # noqa: PLW0603 - one process is simulated at a time
    _watcher = watcher


def hit(name: str) -> None:
    """Does what the place is armed for. `kill` is SIGKILL: nothing is flushed or cleaned up, as in a real crash."""
    global _armed  # noqa: PLW0603 - read once, on first use, so that importing needs no valid environment
    if _armed is None:
        _armed = parse(os.environ.get(VARIABLE, ""))
    if _watcher is not None:
        _watcher(name)
    if action := _armed.get(name):
        _act(name, action)


def _act(name: str, action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "error":
        raise Unavailable(f"failpoint {name}", reason="failpoint")
    time.sleep(int(action.partition(":")[2]) / 1000)
