"""One attempt from work to outcome: prepare, agent, tests, push."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from . import bundle, process, scratch
from .agent import Agent
from .checkout import Repository
from .failure import Failure
from .outbox import Outbox
from .settings import Settings
from .steps import Steps
from .transport import Refused, Transport

_DEFAULT_TIMEOUT_S = 3600
_SUMMARY_LIMIT = 2000


class Attempt:
    """`work` is swarm.guest.v1.Work as JSON."""

    def __init__(self, settings: Settings, transport: Transport, outbox: Outbox, work: dict[str, Any]) -> None:
        self._settings = settings
        self._transport = transport
        self._outbox = outbox
        self._work = work
        self._deadline = time.monotonic() + (work.get("timeout_s") or _DEFAULT_TIMEOUT_S)
        self._steps: list[dict[str, Any]] = work.get("steps", [])
        self._asked = 0

    def run(self) -> dict[str, Any]:
        """The outcome as JSON; never fails."""
        try:
            head, summary = self._run()
        except Failure as failure:
            self._outbox.log(f"{failure.phase} failed: {failure}")
            return self._failed(failure)
        except (OSError, Refused, ValueError, KeyError) as error:
            self._outbox.log(f"the runtime failed: {error!r}")
            return self._failed(Failure("prepare", f"the guest runtime failed: {error!r}"))
        return {"status": "succeeded", "exit_code": 0, "head": head, "summary": _cut(summary), "phase": ""}

    def _failed(self, failure: Failure) -> dict[str, Any]:
        """A full disk explains whatever else went wrong, but not that the agent gave up or had no time left."""
        cause = failure.cause
        if cause in {"", "push_failed"} and scratch.is_full(self._settings.root):
            cause = "disk_full"
        return {
            "status": "failed",
            "exit_code": failure.exit_code,
            "head": "",
            "summary": _cut(str(failure)),
            "phase": failure.phase,
            "cause": cause,
        }

    def _run(self) -> tuple[str, str]:
        self._phase("prepare")
        self._write_inputs()
        repository = self._clone()
        for agent in [step["agent"] for step in self._steps] or [self._agent()]:
            self._fetch(agent)
        self._phase("agent")
        summary = self._run_agents()
        head = repository.conclude(self._message()) if repository else ""
        if self._work.get("test_command"):
            self._phase("tests")
            self._test(self._work["test_command"])
        if repository and head:
            self._phase("push")
            repository.push()
        return head, summary

    def _phase(self, name: str) -> None:
        if time.monotonic() > self._deadline:
            raise Failure(name, "no time is left", process.KILLED_BY_DEADLINE, "timeout")
        self._outbox.put("phase", name)

    def _write_inputs(self) -> None:
        ticket = {name: value for name, value in self._work.items() if name != "entropy"}
        for name, value in (("ticket", ticket), ("input", self._work.get("input", {})), ("steps", {})):
            with open(f"{self._settings.root}/{name}.json", "w") as file:
                json.dump(value, file)

    def _clone(self) -> Repository | None:
        terms = self._work.get("checkout", {})
        if not terms.get("url"):
            return None
        settings = self._settings
        repository = Repository(terms, settings.checkout, settings.environment(), self._outbox.log, self._deadline)
        repository.prepare()
        return repository

    def _agent(self) -> dict[str, Any]:
        agent: dict[str, Any] = self._work.get("agent", {})
        return agent

    def _folder(self, agent: dict[str, Any]) -> str:
        return f"{self._settings.agent}/{agent.get('digest', '')[:16] or 'only'}"

    def _fetch(self, agent: dict[str, Any]) -> None:
        """Once, however many steps it runs."""
        digest, folder = agent.get("digest", ""), self._folder(agent)
        if not os.path.exists(folder):
            bundle.unpack(self._transport.call("GET", f"/v1/agent?digest={digest}"), digest, folder)

    def _run_agents(self) -> str:
        if self._steps:
            return Steps(self._settings, self._outbox, self._steps, self._run_agent).run()
        return self._run_agent(self._agent(), {})[0]

    def _run_agent(self, wanted: dict[str, Any], more: dict[str, str]) -> tuple[str, dict[str, Any]]:
        """Last line and outputs. `Failure`."""
        agent = Agent(self._settings, self._transport, self._outbox, self._asked)
        try:
            status = agent.run(self._folder(wanted), wanted.get("command") or ["./run"], more, self._deadline)
        except OSError as error:
            raise Failure("agent", f"the agent cannot be started: {error}", 127) from error
        self._asked = agent.asked
        if agent.gave_up:
            cause, reason = agent.gave_up
            raise Failure("agent", reason or "the agent gave up without a reason", status, cause)
        if status == process.KILLED_BY_DEADLINE:
            raise Failure("agent", "the agent ran out of time", status, "timeout")
        if status != 0:
            raise Failure("agent", f"the agent ended with status {status}: {agent.last_line}", status)
        return agent.last_line, agent.outputs.value

    def _test(self, command: str) -> None:
        last = [""]

        def sink(line: str) -> None:
            last[0] = line.strip() or last[0]
            self._outbox.log(line, phase="tests")

        settings = self._settings
        started = process.start(["/bin/sh", "-c", command], settings.checkout, settings.environment())
        status = process.finish(started, sink, sink, self._deadline, alone=not settings.plain)
        if status == process.KILLED_BY_DEADLINE:
            raise Failure("tests", "the tests ran out of time", status, "timeout")
        if status != 0:
            raise Failure("tests", f"the tests ended with status {status}: {last[0]}", status)

    def _message(self) -> str:
        return f"{self._work.get('ticket_key', 'Ticket')}: {self._work.get('title', 'work of the agent')}"


def _cut(summary: str) -> str:
    return summary.encode(errors="replace")[:_SUMMARY_LIMIT].decode(errors="ignore")
