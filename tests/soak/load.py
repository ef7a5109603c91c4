"""Tickets in waves: what is filed at once, and how much of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from swarm_sdk.types import TicketSpec
from tests.e2e.harness import played, tickets

LABEL = "vms"


@dataclass(frozen=True, slots=True)
class Wave:
    """Tickets of each kind: played by their host, with an agent as a process, with an agent in a real VM."""

    played: int = 30
    plain: int = 4
    real: int = 2

    def specs(self, dice: random.Random, number: int, project_id: str) -> Iterator[TicketSpec]:
        for each in range(self.played):
            spec = played.ticket(f"Played {number}.{each}", run_for_ms=dice.uniform(10, 2000), logs=dice.randrange(20))
            spec.resources.labels[LABEL] = "sim"
            yield spec
        for each in range(self.plain):
            yield _agent(dice, f"Plain {number}.{each}", project_id, "sim")
        for each in range(self.real):
            yield _agent(dice, f"Real {number}.{each}", project_id, "real")


def _agent(dice: random.Random, title: str, project_id: str, where: str) -> TicketSpec:
    """One that says something, takes its time, and leaves a commit."""
    script = f"seq {dice.randrange(1, 300)}; sleep {dice.uniform(0, 2):.1f}; echo '{title}' > '{title}.txt'"
    resources: dict[str, Any] = {"labels": {LABEL: where}}
    if where == "sim":
        resources["isolation"] = "ISOLATION_CLASS_SIM"
    return tickets.shell(script, title=title, project_id=project_id, resources=resources)
