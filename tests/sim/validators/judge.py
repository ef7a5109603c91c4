"""All validators over one run. Each is a pure function of the evidence and knows nothing of the simulation."""

from __future__ import annotations

from tests.sim.evidence import Evidence
from tests.sim.validators import clients, leases, placement, tickets
from tests.sim.validators.timeline import Timeline

CHECKS = (*tickets.CHECKS, *leases.CHECKS, *placement.CHECKS, *clients.CHECKS)


def judge(evidence: Evidence) -> list[str]:
    """Lines "name: what is wrong" for each violation."""
    line = Timeline(evidence.history)
    return [f"{check.__name__}: {text}" for check in CHECKS for text in check(evidence, line)]
