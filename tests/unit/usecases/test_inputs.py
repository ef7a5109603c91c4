"""A schema that somebody published can be wrong in ways that only show when it is applied."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.agent import Agent
from controlplane.usecases.inputs import check_input, schema_fault


def agent(schema: dict[str, Any]) -> Agent:
    return Agent("loop", "1.0.0", "", "default", ("./run",), schema, "0" * 64, built_in=False, published_at=0.0)


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        ({"$ref": "#"}, {}),
        ({"allOf": [{"$ref": "#/allOf/0"}]}, {}),
        ({"properties": {"a": {"pattern": "("}}}, {"a": "x"}),
        ({"properties": {"a": {"multipleOf": 0.1}}}, {"a": 10**400}),
        ({"$ref": "http://127.0.0.1:1/other"}, {}),
    ],
)
def test_a_schema_that_cannot_be_applied_is_a_fault_of_the_input(schema: dict[str, Any], given: dict[str, Any]) -> None:
    (fault,) = check_input(agent(schema), given)
    assert "the schema of agent loop" in fault.description


def doubling(depth: int) -> dict[str, Any]:
    """A schema whose rules are applied 2^depth times."""
    layers = {f"l{at}": {"allOf": [{"$ref": f"#/$defs/l{at + 1}"}] * 2} for at in range(depth)}
    return {"$defs": {**layers, f"l{depth}": {"type": "object"}}, "$ref": "#/$defs/l0"}


def nested(depth: int) -> dict[str, Any]:
    return {"not": nested(depth - 1)} if depth else {}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("schema", "given"),
    [
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 5000 + "!"}),
        ({"patternProperties": {"^(a|a)*$": {}}, "additionalProperties": False}, {"a" * 5000 + "!": 1}),
        (doubling(60), {}),
        ({"properties": {"a": {"uniqueItems": True}}}, {"a": [{"n": n // 2} for n in range(30_000)]}),
        ({"properties": {"a": {"items": {"enum": [[n] for n in range(50_000)]}}}}, {"a": [[n] for n in range(30_000)]}),
        ({"patternProperties": {f"a{n}$": True for n in range(200)}}, {f"b{n}": 1 for n in range(9000)}),
    ],
)
def test_no_schema_holds_the_writer_up(schema: dict[str, Any], given: dict[str, Any]) -> None:
    assert schema_fault(schema) == ""
    assert len(check_input(agent(schema), given)) == 1


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ({"properties": {"a": {"pattern": "(?=x)"}}}, "/properties/a"),
        ({"properties": {"a": {"pattern": r"(a)\1"}}}, "/properties/a"),
        ({"patternProperties": {"(?<!x)": {}}}, ""),
        ({"anyOf": [{"unevaluatedProperties": False}]}, "/anyOf/0"),
        ({"pattern": "(x{1000}){1000}"}, ""),
        ({"pattern": "x" * 5000}, ""),
        ({"properties": {f"a{n}": {} for n in range(600)}}, ""),
        ({"patternProperties": {f"a{n}": True for n in range(600)}}, ""),
        (nested(70), ""),
    ],
)
def test_a_schema_that_would_take_long_is_none(schema: dict[str, Any], pointer: str) -> None:
    assert schema_fault(schema).startswith(f"{pointer}: ")


def test_patterns_mean_what_json_schema_says() -> None:
    schema = {
        "properties": {"a": {"pattern": "^[^/\\u0000]+$"}},
        "patternProperties": {"^x-": {"type": "integer"}},
        "additionalProperties": {"type": "string"},
    }
    assert schema_fault(schema) == ""
    assert check_input(agent(schema), {"a": "ü b", "x-1": 1, "other": "text"}) == ()
    found = {each.field for each in check_input(agent(schema), {"a": "x/y", "x-1": "no", "other": 1})}
    assert found == {"/a", "/x-1", "/other"}
    assert len(check_input(agent({**schema, "additionalProperties": False}), {"b": 1, "c": 1})) == 1
