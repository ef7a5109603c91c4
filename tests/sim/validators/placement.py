"""Placement: what the scheduler may do, replayed move by move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.sim.evidence import Evidence
from tests.sim.validators.leases import LATE_S, SWEEP_S
from tests.sim.validators.timeline import LEASED, Timeline


def room(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """No host is leased more than it holds, no project more than its limit."""
    hosts: Counter[str] = Counter()
    projects: Counter[str] = Counter()
    holder: dict[str, str] = {}
    for move in line.of("ticket.move"):
        ident = move["ticket_id"]
        ticket = evidence.tickets.get(ident)
        if ticket is None or ticket.spec.type == "epic":
            continue
        project = ticket.spec.project_id
        if (host := holder.pop(ident, None)) is not None:
            hosts[host] -= 1
            projects[project] -= 1
        if move["to"] not in LEASED:
            continue
        host = holder[ident] = move["host"]
        hosts[host] += 1
        projects[project] += 1
        if hosts[host] > evidence.capacity.get(host, 0):
            yield f"{ident}: {host} was leased {hosts[host]} tickets at {move['t']:.1f}"
        most = evidence.projects[project].spec.max_concurrency if project in evidence.projects else 0
        if most and projects[project] > most:
            yield f"{ident}: {project} ran {projects[project]} tickets at {move['t']:.1f}, its limit is {most}"


def order(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """A ticket is placed when all that it depends on is satisfied, not before."""
    states: dict[str, str] = {}
    for move in line.of("ticket.move"):
        ident = move["ticket_id"]
        states[ident] = move["to"]
        ticket = evidence.tickets.get(ident)
        if ticket is None or move["to"] != "assigned" or move["from"] == "assigned":
            continue
        early = [need for need in ticket.spec.depends_on if states.get(need) not in {"in_review", "completed"}]
        if early:
            yield f"{ident}: was placed at {move['t']:.1f} while {early} were not done"


def stopped(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """Nothing is placed while the coordinator is stopped, nor on a host that is taken out."""
    halted, out = False, set[str]()
    for entry in line.history:
        match entry["op"]:
            case "operator.stopped":
                halted = True
            case "operator.starts":
                halted = False
            case "operator.out":
                out.add(entry["host"])
            case "operator.back":
                out.discard(entry["host"])
            case "ticket.move" if entry["to"] == "assigned" and entry["from"] != "assigned":
                if halted:
                    yield f"{entry['ticket_id']}: was placed at {entry['t']:.1f} though the coordinator was stopped"
                if entry["host"] in out:
                    yield f"{entry['ticket_id']}: was placed at {entry['t']:.1f} on {entry['host']}, which was out"
            case _:
                pass


def drains(evidence: Evidence, line: Timeline) -> Iterator[str]:
    """I15: after its deadline a drained host holds nothing, and what it held goes on elsewhere at no cost."""
    for lease in line.leases:
        if lease.reason.startswith("host_stopping") and lease.to != "ready":
            yield f"{lease.ticket}: was drained and is {lease.to}"
    for entry in line.of("operator.out"):
        if entry["deadline"] is None:
            continue
        host = entry["host"]
        over = line.done_by(entry["t"], entry["deadline"], SWEEP_S + LATE_S)
        back = next((one["t"] for one in line.of("operator.back") if one["host"] == host and one["t"] > entry["t"]), 0)
        for lease in line.by_host[host] if over < back else ():
            if lease.begin < over < min(lease.end, back):
                yield f"{lease.ticket}: still runs on {host} at {over:.1f}, long after its drain"


CHECKS = (room, order, stopped, drains)
