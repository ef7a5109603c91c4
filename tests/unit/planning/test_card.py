from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.ticket import Isolation, TicketType
from controlplane.errors import InvalidInput, Violation
from controlplane.planning.card import EPIC_REF, plan_card

CARD: dict[str, Any] = {
    "name": "Shop",
    "description": "Sell things.",
    "repository": "https://example.com/shop.git",
    "default_branch": "main",
    "test_command": "make test",
    "agent": "shell",
    "technical_requirements": ["No framework"],
    "features": [
        {"id": "base", "title": "Base", "acceptance_criteria": ["it runs"], "input": {"script": "true"}, "priority": 0},
        {"title": "Left wing", "depends_on": ["base"], "agent": "echo@2"},
        {"id": "right", "title": "Right wing", "depends_on": ["Base"], "timeout_s": 60.0},
        {
            "title": "Roof",
            "depends_on": ["Left wing", "right"],
            "resources": {"vcpus": 2, "memory_mib": 1024, "isolation": "kvm-qemu", "labels": {"zone": "a"}},
        },
    ],
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The card with one value put at a JSON pointer."""
    card = deepcopy(CARD)
    *parents, last = path.split("/")[1:]
    at: Any = card
    for name in parents:
        at = at[int(name)] if isinstance(at, list) else at.setdefault(name, {})
    at[int(last) if isinstance(at, list) else last] = value
    return card


def faults(card: object, **options: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as error:
        plan_card(card, **options)
    assert error.value.violations
    return {one.field: one.description for one in error.value.violations}


def test_a_card_becomes_an_epic_and_its_features() -> None:
    plan = plan_card(CARD)
    assert (plan.project.name, plan.project.agent, plan.project.test_command) == ("Shop", "shell", "make test")
    assert (plan.epic.type, plan.epic.title, plan.epic.ref) == (TicketType.EPIC, "Shop", EPIC_REF)
    base, left, right, roof = plan.features
    assert [one.ref for one in plan.features] == ["base", "/features/1", "right", "/features/3"]
    assert (left.depends_on, right.depends_on, roof.depends_on) == (("base",), ("base",), ("/features/1", "right"))
    assert {one.parent_id for one in plan.features} == {EPIC_REF}
    assert (base.priority, base.input, left.priority, right.timeout_s) == (0, {"script": "true"}, 5, 60)
    assert (roof.resources.isolation, roof.resources.labels) == (Isolation.KVM_QEMU, {"zone": "a"})
    assert "- No framework" in base.description


def test_the_example_card_is_good() -> None:
    path = Path(__file__).parents[3] / "examples/shelf.card.json"
    plan = plan_card(json.loads(path.read_text()), repository="/srv/shelf.git", agent="shell")
    assert len(plan.features) >= 6
    assert plan.project.repository == "/srv/shelf.git"


@pytest.mark.parametrize("card", [None, [], "x", 1, True, float("nan")])
def test_only_an_object_is_a_card(card: object) -> None:
    assert list(faults(card)) == [""]


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("/nmae", "x", "unknown"),
        ("/budget", -1, "unknown"),
        ("/name", "", "1 to 200"),
        ("/name", "   ", "blank"),
        ("/name", 5, "string"),
        ("/name", "x\x1b[2J", "U+001B"),
        ("/name", "a\u202eb", "U+202E"),
        ("/name", "a\nb", "U+000A"),
        ("/name", "\ud800", "Unicode"),
        ("/description", "x" * 65537, "65536"),
        ("/description", "x\x00", "U+0000"),
        ("/repository", "file:///srv/../x", ".."),
        ("/repository", "ext::sh -c id", "URL"),
        ("/repository", "ssh://-x/r", "host name"),
        ("/repository", "http://169.254.169.254/x", "repository server"),
        ("/default_branch", "--upload-pack=x", "-"),
        ("/default_branch", "a..b", ".."),
        ("/technical_requirements", "x", "array"),
        ("/technical_requirements/0", {}, "string"),
        ("/features", [], "1 to 1000"),
        ("/features", {}, "array"),
        ("/features/0", [], "object"),
        ("/features/0/title", "x" * 501, "500"),
        ("/features/0/title", None, "null"),
        ("/features/0/titel", "x", "unknown"),
        ("/features/0/a~b", "x", "unknown"),
        ("/features/0/id", "-x", "letters"),
        ("/features/0/id", "x" * 65, "letters"),
        ("/features/0/id", "a/b", "letters"),
        ("/features/0/acceptance_criteria", ["x"] * 201, "200"),
        ("/features/0/acceptance_criteria/0", "", "1 to 4096"),
        ("/features/0/priority", 10, "0 to 9"),
        ("/features/0/priority", -1, "0 to 9"),
        ("/features/0/priority", 1.5, "whole"),
        ("/features/0/priority", True, "whole"),
        ("/features/0/priority", float("nan"), "NaN"),
        ("/features/0/priority", float("inf"), "NaN"),
        ("/features/0/timeout_s", 2**63, "0 to"),
        ("/features/0/input", [], "object"),
        ("/features/0/input/x", float("nan"), "finite"),
        ("/features/0/input/x", "\ud800", "Unicode"),
        ("/features/0/resources/vcpus", 33, "0 to 32"),
        ("/features/0/resources/cpu", 1, "unknown"),
        ("/features/0/resources/isolation", "docker", "one of"),
        ("/features/0/resources/labels/zone", 1, "string"),
        ("/features/0/resources/labels", {f"l{n}": "" for n in range(33)}, "32"),
        ("/features/1/depends_on/0", "nowhere", "does not exist"),
        ("/features/1/depends_on/0", "Left wing", "itself"),
        ("/features/3/depends_on", ["right", "Right wing"], "twice"),
        ("/features/1/title", "Base", "already"),
        ("/features/2/id", "base", "already"),
    ],
)
def test_a_fault_is_named_by_its_place(path: str, value: object, text: str) -> None:
    found = faults(changed(path, value))
    place = path.replace("~", "~0")
    there = [description for field, description in found.items() if f"{field}/".startswith(f"{place}/")]
    assert any(text in description for description in there), found


def test_an_id_that_is_anothers_title_is_ambiguous() -> None:
    assert "already" in faults(changed("/features/2/id", "Base"))["/features/0/title"]


def test_a_cycle_is_named_by_its_path() -> None:
    card = changed("/features/0/depends_on", ["Roof"])
    assert "cycle: base -> Roof -> Left wing -> base" in faults(card).values()


def test_all_faults_come_together_and_nothing_else() -> None:
    card = changed("/features/0/priority", "high")
    card["features"][1]["depends_on"] = ["nowhere"]
    card["colour"] = "red"
    assert set(faults(card)) == {"/colour", "/features/0/priority", "/features/1/depends_on/0"}


def test_very_many_faults_are_cut() -> None:
    card = changed("/features", [{"title": ""}] * 1000)
    assert len(faults(card)) <= 100


def test_input_that_is_nested_too_deep_is_refused_without_recursing_into_it() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"x": deep}
    try:
        card = changed("/name", "Shop")
        card["features"][0]["input"] = deep
        assert any("deeper" in text for text in faults(card).values())
    finally:
        while deep:  # or the interpreter would recurse when it frees it
            deep = deep.pop("x")


def test_inputs_are_checked_against_the_agent_that_will_run() -> None:
    asked: list[tuple[str, Mapping[str, Any]]] = []

    def check(agent: str, given_input: Mapping[str, Any]) -> tuple[Violation, ...]:
        asked.append((agent, given_input))
        return (Violation("/script", "is required"),) if agent == "shell" and not given_input else ()

    found = faults(CARD, check_input=check)
    assert [agent for agent, _ in asked] == ["shell", "echo@2", "shell", "shell"]
    assert found == {"/features/2/input/script": "is required", "/features/3/input/script": "is required"}


def test_the_callers_repository_wins_and_is_checked_too() -> None:
    assert plan_card(CARD, repository="/srv/r.git").project.repository == "/srv/r.git"
    assert list(faults(CARD, repository="/srv/r.git", allow_file=False)) == ["/repository"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
PATHS = st.sampled_from(
    ["/name", "/features", "/features/0", "/features/1/depends_on", "/features/3/resources", "/features/0/input", "/x"]
)


@given(PATHS, JSON)
def test_any_json_anywhere_gives_a_plan_or_named_faults(path: str, value: object) -> None:
    try:
        plan = plan_card(changed(path, value))
    except InvalidInput as error:
        faulty = error.violations
    else:
        faulty = ()
        assert all(one.title for one in plan.features)
    assert all(one.field == "" or one.field.startswith("/") for one in faulty)
