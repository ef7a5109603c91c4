from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain import dag
from controlplane.domain.ticket import TicketState
from controlplane.domain.transitions import Action
from tests.fakes.seeds import a_ticket

NODES = st.sampled_from("abcdefgh")
GRAPHS = st.dictionaries(NODES, st.lists(NODES, max_size=4, unique=True).map(tuple), max_size=8)


def closed(graph: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {node: tuple(one for one in needs if one in graph) for node, needs in graph.items()}


def test_faults_name_the_node_the_place_and_the_path() -> None:
    graph = {"a": ("b",), "b": ("c",), "c": ("a",), "d": ("d",), "e": ("a", "nope", "known")}
    found = dag.faults(graph, known=["known"])
    assert [(one.node, one.index, one.reason) for one in found] == [
        ("d", 0, "d depends on itself"),
        ("e", 1, "e depends on nope, which does not exist"),
        ("c", 0, "cycle: a -> b -> c -> a"),
    ]
    assert found[-1].path == ("a", "b", "c", "a")


@given(GRAPHS)
def test_faults_are_found_exactly_when_there_are_some(graph: dict[str, tuple[str, ...]]) -> None:
    found = dag.faults(graph)
    missing = {(node, one) for node, needs in graph.items() for one in needs if one not in graph}
    assert {(one.node, graph[one.node][one.index]) for one in found if "exist" in one.reason} == missing
    try:
        list(TopologicalSorter(closed(graph)).static_order())
        cyclic = False
    except CycleError:
        cyclic = True
    assert any(one.path for one in found) is cyclic


@given(GRAPHS)
def test_a_reported_cycle_is_one(graph: dict[str, tuple[str, ...]]) -> None:
    for one in dag.faults(graph):
        for before, after in zip(one.path, one.path[1:], strict=False):
            assert after in graph[before]
        if one.path:
            assert one.path[0] == one.path[-1]
            assert graph[one.node][one.index] == one.path[-1]


@given(GRAPHS)
def test_an_order_puts_dependencies_first(graph: dict[str, tuple[str, ...]]) -> None:
    graph = closed(graph)
    if any(one.path for one in dag.faults(graph)):
        with pytest.raises(ValueError, match=r"cycle|itself"):
            dag.order(graph)
        return
    places = {node: place for place, node in enumerate(dag.order(graph))}
    assert places.keys() == graph.keys()
    assert all(places[one] < places[node] for node, needs in graph.items() for one in needs)


@given(GRAPHS)
def test_following_what_is_unblocked_reaches_everything_once(graph: dict[str, tuple[str, ...]]) -> None:
    graph = closed(graph)
    if dag.faults(graph):
        return
    done: list[str] = []
    open_nodes = dag.ready(graph, ())
    while open_nodes:
        node = open_nodes.pop()
        done.append(node)
        following = dag.unblocked(graph, done, node)
        assert sorted(dag.ready(graph, done)) == sorted([*open_nodes, *following])
        open_nodes += following
    assert sorted(done) == sorted(graph)


def test_a_long_chain_is_no_deep_recursion() -> None:
    graph = {str(number): (str(number + 1),) for number in range(50_000)} | {"50000": ()}
    assert dag.faults(graph) == []
    assert dag.order(graph)[0] == "50000"


S = TicketState


@pytest.mark.parametrize(
    ("state", "reason", "dependencies", "expected"),
    [
        (S.BLOCKED, "", (S.COMPLETED, S.IN_REVIEW), (Action.UNBLOCK, "")),
        (S.BLOCKED, "waits for TKT-011", (S.COMPLETED, S.RUNNING), None),
        (S.BLOCKED, "", (S.READY, S.RUNNING), (Action.BLOCK, "waits for TKT-010, TKT-011")),
        (S.BLOCKED, "waits for TKT-010", (S.RUNNING, S.FAILED), (Action.BLOCK, "TKT-011 failed")),
        (S.READY, "", (S.CANCELLED, S.COMPLETED), (Action.BLOCK, "TKT-010 was cancelled")),
        (S.READY, "", (S.COMPLETED, S.COMPLETED), None),
        (S.RUNNING, "", (S.FAILED, S.COMPLETED), None),
        (S.PENDING, "", (S.COMPLETED, S.COMPLETED), None),
    ],
)
def test_what_dependencies_ask_of_a_ticket(
    state: TicketState, reason: str, dependencies: tuple[TicketState, ...], expected: tuple[Action, str] | None
) -> None:
    others = [a_ticket(10 + number, other) for number, other in enumerate(dependencies)]
    ticket = a_ticket(1, state, state_reason=reason, depends_on=tuple(other.id for other in others))
    assert dag.reconsider(ticket, {other.id: other for other in others}) == expected


def test_a_dependency_that_is_gone_blocks() -> None:
    ticket = a_ticket(1, S.READY, depends_on=("tk_9",))
    assert dag.reconsider(ticket, {}) == (Action.BLOCK, "tk_9 is gone")


def test_many_dependencies_are_counted_not_listed() -> None:
    others = [a_ticket(number, S.RUNNING) for number in range(10, 18)]
    ticket = a_ticket(1, S.READY, depends_on=tuple(other.id for other in others))
    found = dag.reconsider(ticket, {other.id: other for other in others})
    assert found is not None
    assert found[1] == "waits for TKT-010, TKT-011, TKT-012, TKT-013, TKT-014 and 3 more"
