"""An attempt played in process, by the ticket's own script: `{"sim": {...}}` in its input."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hostd.deadline import Deadline
from hostd.drivers.sim.http import call
from hostd.errors import BrokerError

LOGS_PER_BATCH = 100
RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class Script:
    """`hang`: never end. `die`: the VM ends without an outcome. `exit` other than 0: the agent failed, by `cause`.

    `mute`: a guest that answers no ping.
    """

    run_for_ms: float = 0.0
    exit: int = 0
    logs: int = 1
    summary: str = ""
    cause: str = ""
    hang: bool = False
    die: bool = False
    mute: bool = False


def parse(value: Any, default_ms: float) -> Script:
    """Script of a ticket; unknown members and wrong types fall back to the defaults."""
    given = value if isinstance(value, dict) else {}

    def number(name: str, default: float) -> float:
        found = given.get(name, default)
        return float(found) if isinstance(found, int | float) and found >= 0 else default

    return Script(
        run_for_ms=number("run_for_ms", default_ms),
        exit=int(number("exit", 0)),
        logs=int(min(number("logs", 1), 100_000)),
        summary=str(given.get("summary", "played in process")),
        cause=str(given.get("cause", "")),
        hang=given.get("hang") is True,
        die=given.get("die") is True,
        mute=given.get("mute") is True,
    )


class Player:
    """One attempt. `clock` stands still while the VM is paused."""

    def __init__(self, port: int, running: asyncio.Event) -> None:
        self._port = port
        self._running = running
        self._seq = 0
        self.clock: Deadline | None = None

    async def work(self) -> dict[str, Any]:
        """The Work document, as soon as there is one."""
        while True:
            status, body = await self._call("GET", "/v1/work")
            if status == 200 and isinstance(body, dict):  # noqa: PLR2004
                return body
            await asyncio.sleep(RETRY_S)

    async def play(self, script: Script, steps: Sequence[str] = ()) -> bool:
        """True when an outcome was delivered; False when the VM is to die. Steps of a workflow all succeed at once."""
        await self._events([{"type": "phase", "text": "prepare"}, {"type": "phase", "text": "agent"}])
        if steps:
            await self._events(
                [
                    {"type": "step", "text": step, "data": {"state": state}}
                    for step in steps
                    for state in ("running", "succeeded")
                ]
            )
        for start in range(0, script.logs, LOGS_PER_BATCH):
            lines = range(start, min(start + LOGS_PER_BATCH, script.logs))
            await self._events([{"type": "log", "text": f"line {line + 1} of {script.logs}"} for line in lines])
        self.clock = Deadline(script.run_for_ms / 1000, paused=not self._running.is_set())
        await self.clock.expired()
        if script.hang:
            await asyncio.Event().wait()
        if script.die:
            return False
        await self._result(script)
        return True

    async def pong(self) -> None:
        await self._call("POST", "/v1/pong")

    async def _result(self, script: Script) -> None:
        outcome = {
            "status": "failed" if script.exit else "succeeded",
            "exit_code": script.exit,
            "summary": script.summary,
            "phase": "agent" if script.exit else "",
            "cause": script.cause,
        }
        await self._call("POST", "/v1/result", outcome)

    async def _events(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self._seq += 1
            event["seq"] = str(self._seq)
        await self._call("POST", "/v1/events", {"events": events})

    async def _call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Try again while the broker is away or busy, as a guest does."""
        while True:
            await self._running.wait()
            try:
                status, answer = await call(self._port, method, path, body)
            except BrokerError:
                await asyncio.sleep(RETRY_S)
                continue
            if status not in {429, 502, 503, 504}:
                return status, answer
            await asyncio.sleep(RETRY_S)
