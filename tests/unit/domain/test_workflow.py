from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain import workflow as workflows
from controlplane.domain.manifest import ManifestError

FOLDER = Path(__file__).resolve().parents[3] / "controlplane" / "workflows"


def manifest(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "flow", "version": "1.0.0", "steps": list(steps), **fields}


def step(name: str, *needs: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "agent": "shell", "needs": list(needs), **fields}


def test_there_are_four_built_in_workflows_that_are_well_formed() -> None:
    found = [workflows.parse(workflows.load(path.read_bytes())) for path in sorted(FOLDER.glob("*.json"))]
    assert sorted(each.name for each in found) == ["bugfix", "feature", "script", "script-and-note"]


def test_steps_stand_in_the_order_in_which_they_run() -> None:
    parsed = workflows.parse(manifest(step("c", "a", "b"), step("b", "a"), step("a")))
    assert [each.name for each in parsed.steps] == ["a", "b", "c"]
    assert parsed.steps[2].needs == ("a", "b")


def test_the_digest_is_that_of_the_content() -> None:
    one, other = manifest(step("a")), json.loads(json.dumps(manifest(step("a")), sort_keys=True, indent=3))
    assert workflows.parse(one).digest == workflows.parse(other).digest
    assert workflows.parse(one).digest != workflows.parse(manifest(step("b"))).digest


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ([], ""),
        ({**manifest(step("a")), "extra": 1}, "/extra"),
        (manifest(step("a"), name="Flow"), "/name"),
        (manifest(step("a"), version="1"), "/version"),
        (manifest(step("a"), image="../x"), "/image"),
        (manifest(step("a"), image=""), "/image"),
        (manifest(), "/steps"),
        ({"name": "flow", "version": "1.0.0"}, "/steps"),
        (manifest(*(step(f"s{n}") for n in range(17))), "/steps"),
        (manifest(step("a"), step("a")), "/steps/1/name"),
        (manifest(step("a"), {"name": "b"}), "/steps/1/agent"),
        (manifest(step("a", agent="shell@latest")), "/steps/0/agent"),
        (manifest(step("a", agent="a b")), "/steps/0/agent"),
        (manifest(step("a", "b")), "/steps/0/needs/0"),
        (manifest(step("a", "a")), "/steps/0/needs/0"),
        (manifest(step("a", "b"), step("b", "a")), "/steps/1/needs/0"),
        (manifest(step("a"), step("b", "a", "a")), "/steps/1/needs/1"),
        (manifest(step("a", needs="b")), "/steps/0/needs"),
        (manifest(step("a", needs=[1])), "/steps/0/needs/0"),
        (manifest(step("a", input=[])), "/steps/0/input"),
        (manifest(step("a", input={"x": float("inf")})), "/steps/0/input"),
        (manifest(step("a", when="x")), "/steps/0/when"),
        (manifest("a"), "/steps/0"),  # type: ignore[arg-type]
    ],
)
def test_the_first_fault_has_its_pointer(broken: object, field: str) -> None:
    with pytest.raises(ManifestError) as error:
        workflows.parse(broken)
    assert error.value.field == field
    assert error.value.reason


NAMES = st.sampled_from(["name", "version", "steps", "agent", "needs", "input", "x"])
LEAVES = st.none() | st.booleans() | st.floats() | st.text(max_size=9)


@given(
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
        max_leaves=30,
    )
)
def test_anything_is_a_workflow_or_a_fault(value: object) -> None:
    try:
        parsed = workflows.parse(value)
    except ManifestError:
        return
    assert parsed.steps


def test_a_tickets_input_is_merged_over_that_of_the_step() -> None:
    flow = workflows.parse(manifest(step("a", input={"x": 1, "y": {"deep": 1}}), step("b")))
    assert workflows.merged(flow, {"a": {"y": 2}}) == ({"x": 1, "y": 2}, {})
