"""What callers were told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.sim.evidence import Evidence
from tests.sim.validators.timeline import Timeline


def answers(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I6: one key has one request, one answer and one effect."""
    asked: dict[str, str] = {}
    bodies: dict[str, str] = {}
    told: dict[tuple[str, str], str] = {}
    for entry in line.of("client.call", "client.answer"):
        key = entry["key"]
        if entry["op"] == "client.call":
            asked[key] = entry["body"]
            continue
        first = bodies.setdefault(key, asked[key])
        if first != asked[key]:
            yield f"{key}: another request under the same key was answered"
        if told.setdefault((key, asked[key]), entry["answer"]) != entry["answer"]:
            yield f"{key}: was answered in two ways"
    titles = Counter(ticket.spec.title for ticket in evidence.tickets.values())
    for title, count in titles.items():
        if count > 1 and evidence.restored is None:  # which voids keys
            yield f"{title!r} was filed {count} times"


def watching(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I21: what a client reads over streams that break is the table: no gap, no repetition, no other order."""
    read: dict[str, list[tuple[int, str]]] = {}
    for entry in line.of("client.event"):
        read.setdefault(entry["ticket"], []).append((entry["seq"], entry["type"]))
    for ident, seen in read.items():
        stored = [(event.seq, event.type) for event in evidence.events.get(ident, ())]
        if seen != stored:
            yield f"{ident}: its watcher read {len(seen)} events of {len(stored)}, or others"


def unforeseen(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """The product never falls back on catching whatever comes."""
    for entry in line.of("product.unforeseen"):
        yield f"at {entry['t']:.1f}: {entry['text']}"


CHECKS = (answers, watching, unforeseen)
