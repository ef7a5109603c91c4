"""A schema that somebody published can be wrong in ways that only show when it is applied."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.agent import Agent
from controlplane.usecases.inputs import check_input


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
