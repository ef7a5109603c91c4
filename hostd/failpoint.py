"""Named places where a test can make hostd crash, fail or dawdle.

``SWARM_FAILPOINT=name=kill|error|delay:MS`` (several separated by commas) arms them; unarmed they cost a dict look-up.
"""

from __future__ import annotations

import asyncio
import os
import signal

from hostd.errors import ConfigError, HostError

VARIABLE = "SWARM_FAILPOINT"


class FailpointError(HostError):
    """An armed failpoint said so."""

    code = "UNAVAILABLE"


def parse(text: str) -> dict[str, str]:
    """Actions by failpoint name; `ConfigError` names every malformed item."""
    actions: dict[str, str] = {}
    faults = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, action = item.partition("=")
        kind, _, argument = action.partition(":")
        if name and (action in {"kill", "error"} or (kind == "delay" and argument.isdecimal())):
            actions[name] = action
        else:
            faults.append(f"{VARIABLE}: {item!r} is not name=kill, name=error or name=delay:MS")
    if faults:
        raise ConfigError(faults)
    return actions


_armed: dict[str, str] = {}


def arm(text: str | None = None) -> None:
    """Arm from `text`, or from the environment; replaces what was armed."""
    parsed = parse(os.environ.get(VARIABLE, "") if text is None else text)
    _armed.clear()
    _armed.update(parsed)


async def failpoint(name: str) -> None:
    """Act if armed. `FailpointError` for the action "error"; "kill" never returns."""
    action = _armed.get(name)
    if action is None:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "error":
        raise FailpointError(f"failpoint {name}")
    await asyncio.sleep(int(action.removeprefix("delay:")) / 1000)
