"""What was acknowledged is there after a kill, and what a backup holds is there after its restore."""

from __future__ import annotations

from collections.abc import Iterator

from tests.sim.evidence import Evidence
from tests.sim.validators.timeline import Timeline


def moves_stay(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I18, I19: every move that was told to anybody is stored at the end, in its order.

    What is stored besides was committed in the moment of a kill, and told to nobody.
    """
    for ident, ticket in evidence.tickets.items():
        told = [(move["from"], move["to"]) for move in line.moves.get(ident, ())]
        stored = _stored(evidence, ident)
        left = iter(stored)
        if not all(move in left for move in told):
            yield f"{ticket.id}: its moves were {told}, stored are {stored}"
    for ident in line.moves.keys() - evidence.tickets.keys():
        yield f"{ident}: moved and is gone"


def _stored(evidence: Evidence, ident: str) -> list[tuple[str, str]]:
    events = (event for event in evidence.events.get(ident, ()) if event.type == "ticket.state")
    return [(event.data["from"], event.data["to"]) for event in events]


def acknowledged(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I18: each life of the control plane finds what the lives before it acknowledged to clients and hosts."""
    answered: set[str] = set()
    taken: dict[str, tuple[str, int]] = {}
    for entry in line.of("client.answer", "control.acked", "control.found"):
        match entry["op"]:
            case "client.answer":
                answered.add(entry["key"])
            case "control.acked":
                taken[entry["host"]] = entry["boot"], entry["seq"]
            case _:
                if lost := answered - set(entry["answers"]):
                    yield f"at {entry['t']:.1f}: the answers under {sorted(lost)} are forgotten"
                for host, (boot, seq) in taken.items():
                    known, upto = entry["links"].get(host, ("", 0))
                    if known == boot and upto < seq:
                        yield f"at {entry['t']:.1f}: message {seq} of {host} was acknowledged and is forgotten"


def leases_void(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I19: what was leased when the backup was made is placed anew, and nothing of it is accepted."""
    if (restored := evidence.restored) is None:
        return
    for lease in line.leases:
        unheard = not lease.to and len(_stored(evidence, lease.ticket)) > len(line.moves[lease.ticket])
        voided = (lease.to, lease.reason[:8]) == ("ready", "restored") or unheard
        if lease.begin <= restored.since < lease.end and not voided:
            yield f"{lease.ticket}: fence {lease.fence} outlived the restore as {lease.to} ({lease.reason})"


CHECKS = (moves_stay, acknowledged, leases_void)
