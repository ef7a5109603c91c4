"""Dependencies: each must be satisfied (AND). Everything here is linear in tickets plus dependencies."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controlplane.domain.ticket import SATISFIED, Ticket, TicketState
from controlplane.domain.transitions import Action

Graph = Mapping[str, Sequence[str]]  # node -> nodes that it depends on, in the order given

NAMED: Final = 5  # how many dependencies a reason names before it only counts


@dataclass(frozen=True, slots=True)
class Fault:
    """`node` and the index of its dependency that is wrong, and why; `path` names every node of a cycle."""

    node: str
    index: int
    reason: str
    path: tuple[str, ...] = ()


def faults(graph: Graph, known: Iterable[str] = ()) -> list[Fault]:
    """Self-dependencies, dependencies that exist neither in the graph nor among `known`, and cycles."""
    outside = set(known)
    found = []
    for node, dependencies in graph.items():
        for index, dependency in enumerate(dependencies):
            if dependency == node:
                found.append(Fault(node, index, f"{node} depends on itself", (node, node)))
            elif dependency not in graph and dependency not in outside:
                found.append(Fault(node, index, f"{node} depends on {dependency}, which does not exist"))
    return [*found, *_cycles(graph)]


def order(graph: Graph) -> list[str]:
    """Nodes such that each comes after what it depends on, ties in the order given; ValueError names a cycle."""
    if circular := [fault for fault in faults(graph) if fault.path]:
        raise ValueError(circular[0].reason)
    dependents = _dependents(graph)
    open_count = {node: sum(dependency in graph for dependency in set(graph[node])) for node in graph}
    queue = deque(node for node, count in open_count.items() if not count)
    ordered = []
    while queue:
        node = queue.popleft()
        ordered.append(node)
        for dependent in dependents.get(node, ()):
            open_count[dependent] -= 1
            if not open_count[dependent]:
                queue.append(dependent)
    return ordered


def ready(graph: Graph, satisfied: Iterable[str]) -> list[str]:
    """Nodes outside `satisfied` whose every dependency is in it."""
    done = set(satisfied)
    return [node for node in graph if node not in done and all(dependency in done for dependency in graph[node])]


def unblocked(graph: Graph, satisfied: Iterable[str], node: str) -> list[str]:
    """Nodes that `node` was the last to hold back, `satisfied` including it."""
    done = set(satisfied) | {node}
    dependents = _dependents(graph).get(node, ())
    return [dependent for dependent in dependents if dependent not in done and done.issuperset(graph[dependent])]


def unsatisfied(depends_on: Sequence[str], dependencies: Mapping[str, Ticket]) -> list[tuple[str, TicketState | None]]:
    """(key, state) of every dependency that holds back; the id and None for one that is gone."""
    held: list[tuple[str, TicketState | None]] = []
    for ident in depends_on:
        ticket = dependencies.get(ident)
        if ticket is None:
            held.append((ident, None))
        elif ticket.state not in SATISFIED:
            held.append((ticket.key, ticket.state))
    return held


def reconsider(ticket: Ticket, dependencies: Mapping[str, Ticket]) -> tuple[Action, str] | None:
    """What its dependencies, by id, ask of a waiting ticket: to unblock, or to block with a reason; None: nothing."""
    held = unsatisfied(ticket.spec.depends_on, dependencies)
    if not held:
        return (Action.UNBLOCK, "") if ticket.state is TicketState.BLOCKED else None
    reason = held_reason(held)
    if ticket.state is TicketState.READY or (ticket.state is TicketState.BLOCKED and ticket.state_reason != reason):
        return Action.BLOCK, reason
    return None


def held_reason(held: Sequence[tuple[str, TicketState | None]]) -> str:
    """For people: what will not be satisfied comes before what is only waited for."""
    hopeless = {TicketState.FAILED: "failed", TicketState.CANCELLED: "was cancelled", None: "is gone"}
    for key, state in held:
        if state in hopeless:
            return f"{key} {hopeless[state]}"
    keys = [key for key, _ in held]
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return f"waits for {', '.join(keys[:NAMED])}{more}"


def _dependents(graph: Graph) -> dict[str, list[str]]:
    dependents: dict[str, list[str]] = {}
    for node, dependencies in graph.items():
        for dependency in dict.fromkeys(dependencies):
            if dependency in graph:
                dependents.setdefault(dependency, []).append(node)
    return dependents


def _cycles(graph: Graph) -> list[Fault]:
    """One fault per cycle that a depth-first walk closes, self-dependencies aside. No recursion: chains may be long."""
    found: list[Fault] = []
    done: set[str] = set()
    for root in graph:
        if root in done:
            continue
        path, places, cursors = [root], {root: 0}, [0]
        while path:
            node, cursor = path[-1], cursors[-1]
            if cursor == len(graph[node]):
                done.add(node)
                del places[node]
                path.pop()
                cursors.pop()
                continue
            cursors[-1] += 1
            following = graph[node][cursor]
            if following in places:
                if following != node:
                    cycle = (*path[places[following] :], following)
                    found.append(Fault(node, cursor, f"cycle: {' -> '.join(cycle)}", cycle))
            elif following in graph and following not in done:
                places[following] = len(path)
                path.append(following)
                cursors.append(0)
    return found
