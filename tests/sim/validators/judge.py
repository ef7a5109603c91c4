"""All validators over one run. Each is a pure function of the evidence and knows nothing of the simulation."""

from __future__ import annotations

from dataclasses import replace

from tests.sim.evidence import Evidence, Restored
from tests.sim.validators import clients, durable, leases, placement, tickets
from tests.sim.validators.timeline import Timeline

CHECKS = (*tickets.CHECKS, *leases.CHECKS, *placement.CHECKS, *clients.CHECKS, *durable.CHECKS)
# Of the database, unlike what happened to hosts, forge and processes.
STORED = frozenset({"ticket.move", "client.created", "client.answer", "client.error", "client.event"})
# A restore begins without them.
VOID = frozenset({"client.answer", "control.acked"})


def judge(evidence: Evidence) -> list[str]:
    """Lines "name: what is wrong" for each violation."""
    evidence = without_the_lost(evidence)
    line = Timeline(evidence.history)
    return [f"{check.__name__}: {text}" for check in CHECKS for text in check(evidence, line)]


def without_the_lost(evidence: Evidence) -> Evidence:
    """The evidence without what lies between a backup and its restore, as far as a restore takes it back."""
    ops = [entry["op"] for entry in evidence.history]
    if "world.restored" not in ops:
        return evidence
    history, since, at = evidence.history, ops.index("world.backup"), ops.index("world.restored")
    older = [entry for entry in history[:since] if entry["op"] not in VOID]
    between = [entry for entry in history[since:at] if entry["op"] not in VOID | STORED]
    restored = Restored(history[at]["t"], history[since]["t"])
    return replace(evidence, history=[*older, *between, *history[at:]], restored=restored)
