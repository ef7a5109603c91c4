"""Runs the agent and speaks its protocol: JSON lines on its stdout, answers as JSON lines on its stdin."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from typing import Any

from . import process
from .outbox import Outbox
from .outputs import Outputs
from .settings import Settings
from .transport import Refused, Transport

_TYPES = ("log", "progress", "question", "usage", "artifact", "output", "give_up")
_REASONS_TO_GIVE_UP = ("agent_gave_up", "bad_ticket", "budget")
_ARTIFACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ARTIFACT_LIMIT = 8 << 20
_ANSWER_TIMEOUT_S = 40


class Agent:
    """One run of one agent. `asked` counts the questions that agents before it asked in this attempt."""

    def __init__(self, settings: Settings, transport: Transport, outbox: Outbox, asked: int = 0) -> None:
        self._settings = settings
        self._transport = transport
        self._outbox = outbox
        self.asked = asked
        self.outputs = Outputs()
        self._process: subprocess.Popen[bytes] | None = None
        self.last_line = ""
        self.gave_up: tuple[str, str] | None = None  # cause, reason

    def run(self, folder: str, command: list[str], more: dict[str, str], deadline: float) -> int:
        """Exit status; 124: time was up. `folder` is its bundle's, `more` environment. `OSError`: cannot be started."""
        program = os.path.normpath(f"{folder}/{command[0]}")
        argv = [program if os.path.exists(program) else command[0], *command[1:]]
        env = {**self._settings.environment(), **more}
        self._process = process.start(argv, self._settings.checkout, env, with_input=True)
        return process.finish(self._process, self._said, self._log, deadline, alone=not self._settings.plain)

    def _log(self, line: str) -> None:
        self.last_line = line.strip() or self.last_line
        self._outbox.log(line)

    def _said(self, line: str) -> None:
        """A line of stdout; what is no event is a log."""
        event = parse(line)
        if event is None:
            self._log(line)
            return
        kind, text, data = event
        if kind == "give_up":
            cause = data.get("cause")
            self.gave_up = (cause if cause in _REASONS_TO_GIVE_UP else _REASONS_TO_GIVE_UP[0], text.strip())
            self._log(f"the agent gives up: {text}")
            return
        if kind == "question":
            self.asked += 1
            data = {**data, "number": self.asked}
            threading.Thread(target=self._answer, args=(self.asked,), daemon=True).start()
        elif kind == "artifact":
            data = {**data, **self._upload(str(data.get("path", text)))}
        elif kind == "output" and (fault := self.outputs.merge(data)):
            self._log(fault)
            return
        elif kind == "log":
            self.last_line = text.strip() or self.last_line
        self._outbox.put(kind, text, data)

    def _answer(self, number: int) -> None:
        """Hand the answer to a question to the agent, however long it takes."""
        answer = b""
        while not answer:
            try:
                answer = self._transport.call("GET", f"/v1/answer?number={number}", timeout_s=_ANSWER_TIMEOUT_S)
            except (OSError, Refused):
                return
        line = json.dumps({"type": "answer", "text": json.loads(answer)["text"]}) + "\n"
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
        except (OSError, ValueError):  # its end is closed, or ours is
            self._outbox.log("the agent ended before its answer came")

    def _upload(self, path: str) -> dict[str, Any]:
        """Send a file of the checkout; what went wrong becomes part of the event."""
        name = os.path.basename(path)
        if not _ARTIFACT.fullmatch(name):
            return {"error": "artifacts have plain names"}
        try:
            with open(os.path.join(self._settings.checkout, path), "rb") as file:
                content = file.read(_ARTIFACT_LIMIT + 1)
            self._transport.call("PUT", f"/v1/artifacts/{name}", content, kind="application/octet-stream")
        except (OSError, Refused) as error:
            return {"name": name, "error": str(error)[:300]}
        return {"name": name, "size": len(content)}


def parse(line: str) -> tuple[str, str, dict[str, Any]] | None:
    """Type, text and data of an event line; None when it is none."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("type") not in _TYPES:
        return None
    data = value.get("data", {})
    return value["type"], str(value.get("text", "")), data if isinstance(data, dict) else {"value": data}


def _refuse(name: str) -> float:
    raise ValueError(name)
