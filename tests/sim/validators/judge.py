"""All validators over one run. Each is a pure function of the evidence and knows nothing of the simulation."""

from __future__ import annotations

from dataclasses import replace

from tests.sim.evidence import Evidence, Restored
from tests.sim.history import Entry
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
    found = next((entry for entry in evidence.history if entry["op"] == "world.restored"), None)
    if found is None:
        return evidence
    restored = Restored(found["t"], found["since"])
    kept = [entry for entry in evidence.history if not _lost(entry, restored)]
    return replace(evidence, history=kept, restored=restored)


def _lost(entry: Entry, restored: Restored) -> bool:
    if entry["t"] > restored.at:
        return False
    return entry["op"] in VOID or (entry["t"] > restored.since and entry["op"] in STORED)
