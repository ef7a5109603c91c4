"""The registry over gRPC: workflows, their runs, the mapping, and what bad input gets."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from swarm_sdk import (
    AlreadyExistsError,
    Client,
    FailedPreconditionError,
    InvalidArgumentError,
    MappingRule,
    NotFoundError,
    TicketSpec,
    TicketType,
    name_of,
)

FLOW: dict[str, Any] = {
    "name": "flow",
    "version": "1.0.0",
    "steps": [
        {"name": "two", "agent": "echo", "needs": ["one"], "input": {"message": "hi"}},
        {"name": "one", "agent": "shell"},
    ],
}


async def test_a_published_workflow_is_shown_and_runs_by_name(client: Client) -> None:
    made = await client.registry.publish_workflow(FLOW)
    assert await client.registry.publish_workflow(FLOW) == made
    assert [step.name for step in made.steps] == ["one", "two"]
    assert (made.needs_image, made.image_present, made.built_in) == ("default", True, False)
    assert await client.registry.workflow("flow@1.0.0") == made
    listed = {each.name: each for each in await client.registry.workflows()}
    assert set(listed) == {"bugfix", "feature", "script", "script-and-note", "flow"}
    assert not listed["feature"].image_present
    spec = ParseDict({"title": "x", "workflow": "flow", "input": {"one": {"script": "true"}}}, TicketSpec())
    ticket = await client.tickets.create(spec)
    assert (ticket.spec.workflow, name_of(ticket, "execution_mode")) == ("flow@1.0.0", "workflow")
    assert list(await client.registry.runs(ticket.key)) == []


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        ({}, "/manifest/name"),
        ({**FLOW, "steps": []}, "/manifest/steps"),
        ({**FLOW, "steps": [{"name": "a", "agent": "nobody"}]}, "/manifest/steps/0/agent"),
        ({**FLOW, "steps": [{"name": "a", "agent": "echo", "needs": ["b"]}]}, "/manifest/steps/0/needs/0"),
        ({**FLOW, "steps": [{"name": "a", "agent": "echo"}, {"name": "b", "agent": "claude"}]}, "/manifest/image"),
    ],
)
async def test_a_bad_manifest_is_refused_with_its_pointer(client: Client, manifest: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        await client.registry.publish_workflow(manifest)
    assert [each.field for each in error.value.violations] == [field]


async def test_what_exists_and_what_does_not(client: Client) -> None:
    with pytest.raises(AlreadyExistsError, match="built-in"):
        await client.registry.publish_workflow({**FLOW, "name": "script"})
    for call in (client.registry.workflow("none"), client.registry.run("wr_none"), client.registry.runs("TKT-404")):
        with pytest.raises(NotFoundError):
            await call


async def test_the_mapping_decides_for_tickets_that_name_nothing(client: Client) -> None:
    assert list(await client.registry.mapping()) == []
    rule = MappingRule(type=TicketType.TICKET_TYPE_BUG, tags=["api"], agent="shell")
    assert list(await client.registry.set_mapping([rule])) == [rule]
    assert list(await client.registry.mapping()) == [rule]
    wanted = {"title": "x", "type": "TICKET_TYPE_BUG", "tags": ["api"], "input": {"script": "true"}}
    assert (await client.tickets.create(ParseDict(wanted, TicketSpec()))).spec.agent == "shell"
    assert (await client.tickets.create(TicketSpec(title="x"))).spec.agent == "echo"
    with pytest.raises(InvalidArgumentError) as error:
        await client.registry.set_mapping([rule, MappingRule()])
    assert [each.field for each in error.value.violations] == ["/mapping/rules/1"]


async def test_a_feature_of_a_card_may_name_a_workflow(client: Client) -> None:
    feature = {"title": "Rename", "workflow": "script-and-note", "input": {"change": {"script": "true"}}}
    made = await client.tickets.import_spec({"name": "card", "features": [feature]}, agent="shell", hold=True)
    assert made.tickets[0].spec.workflow == "script-and-note@1.0.0"
    with pytest.raises(InvalidArgumentError) as error:
        await client.tickets.import_spec({"name": "card", "features": [{**feature, "input": {"none": {}}}]})
    assert {each.field for each in error.value.violations} == {"/features/0/input/none", "/features/0/input/change"}
    with pytest.raises(FailedPreconditionError, match="claude-code"):
        await client.tickets.import_spec({"name": "card", "features": [{"title": "x", "workflow": "feature"}]})
