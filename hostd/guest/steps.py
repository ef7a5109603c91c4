"""The steps of a workflow, one agent after another in one checkout, until one fails."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from .failure import Failure
from .outbox import Outbox
from .settings import Settings

_SUMMARY_LIMIT = 1000

Run = Callable[[dict[str, Any], dict[str, str]], tuple[str, dict[str, Any]]]
"""Runs an agent (name, digest, command) with more environment; answers its last line and its outputs. `Failure`."""


class Steps:
    """`run` runs one agent; `steps` is Work.steps, in the order in which they run."""

    def __init__(self, settings: Settings, outbox: Outbox, steps: list[dict[str, Any]], run: Run) -> None:
        self._settings = settings
        self._outbox = outbox
        self._steps = steps
        self._run = run
        self._done: dict[str, dict[str, Any]] = {}

    def run(self) -> str:
        """The last line of the last step. `Failure` names the step that failed; those after it are skipped."""
        summary = ""
        for index, step in enumerate(self._steps):
            try:
                summary = self._run_one(step)
            except Failure as failure:
                for skipped in self._steps[index + 1 :]:
                    self._tell(skipped["name"], "skipped")
                raise Failure(failure.phase, f"step {step['name']}: {failure}", failure.exit_code) from failure
        return summary

    def _run_one(self, step: dict[str, Any]) -> str:
        name = step["name"]
        self._tell(name, "running")
        try:
            summary, outputs = self._run(step["agent"], self._environment(step))
        except Failure as failure:
            self._tell(name, "failed", exit_code=failure.exit_code, summary=shorten(str(failure)))
            raise
        self._done[name] = {"status": "succeeded", "summary": shorten(summary), "outputs": outputs}
        self._tell(name, "succeeded", exit_code=0, summary=shorten(summary))
        return summary

    def _environment(self, step: dict[str, Any]) -> dict[str, str]:
        """Writes what the step may read: its input, and what the steps that it needs have left."""
        folder = f"{self._settings.root}/steps/{step['name']}"
        os.makedirs(folder, exist_ok=True)
        needed = {name: self._done[name] for name in step.get("needs", ())}
        for name, value in (("input", step.get("input", {})), ("steps", needed)):
            with open(f"{folder}/{name}.json", "w") as file:
                json.dump(value, file)
        return {
            "SWARM_INPUT": f"{folder}/input.json",
            "SWARM_STEPS": f"{folder}/steps.json",
            "SWARM_STEP": step["name"],
        }

    def _tell(self, name: str, state: str, **data: Any) -> None:
        self._outbox.put("step", name, {"state": state, **data})


def shorten(text: str) -> str:
    """What fits into the record of a step, and can be sent."""
    return text[:_SUMMARY_LIMIT].encode(errors="replace").decode()
