from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.call import Call
from controlplane.domain.project import ProjectSpec
from controlplane.domain.ticket import TicketState, TicketType
from controlplane.errors import AlreadyExists, InvalidInput, NotFound
from controlplane.ports import Page, Store
from controlplane.usecases import projects, specs
from tests.fakes.seeds import TENANT, a_call

S = TicketState


def a_card(**more: Any) -> dict[str, Any]:
    features = [
        {"id": "core", "title": "Core"},
        {"title": "Left", "depends_on": ["core"], "agent": "shell", "input": {"script": "true"}},
        {"title": "Top", "depends_on": ["core", "Left"], "priority": 1},
    ]
    return {"name": "Adder", "description": "It adds", "repository": "/srv/adder.git", "features": features, **more}


async def import_card(store: Store, call: Call, card: object, **options: Any) -> specs.Imported:
    return await store.write(lambda tx: specs.import_spec(tx, call, card, **options))


async def faults(store: Store, call: Call, card: object, **options: Any) -> list[str]:
    with pytest.raises(InvalidInput) as error:
        await import_card(store, call, card, **options)
    assert await store.read(lambda reader: reader.live_tickets()) == []
    assert (await store.read(lambda reader: reader.projects(TENANT, Page())))[0] == []
    return [one.field for one in error.value.violations]


async def test_a_card_becomes_an_epic_and_its_features(store: Store, call: Call) -> None:
    imported = await import_card(store, call, a_card(test_command="make test"))
    core, left, top = imported.tickets
    assert (imported.epic.spec.type, imported.epic.spec.title) == (TicketType.EPIC, "Adder")
    assert [one.key for one in (imported.epic, core, left, top)] == ["TKT-001", "TKT-002", "TKT-003", "TKT-004"]
    assert {one.spec.parent_id for one in imported.tickets} == {imported.epic.id}
    assert (core.state, left.state, top.state) == (S.READY, S.BLOCKED, S.BLOCKED)
    assert top.spec.depends_on == (core.id, left.id)
    project = await store.read(lambda reader: reader.project(TENANT, imported.project_id))
    assert project is not None
    assert (project.spec.repository, project.spec.test_command) == ("/srv/adder.git", "make test")
    assert {one.spec.project_id for one in (imported.epic, *imported.tickets)} == {project.id}


async def test_the_same_repository_means_the_same_project(store: Store, call: Call) -> None:
    first = await import_card(store, call, a_card())
    second = await import_card(store, call, a_card(test_command="make check"))
    assert second.project_id == first.project_id
    project = await store.read(lambda reader: reader.project(TENANT, first.project_id))
    assert project is not None
    assert project.spec.test_command == "make check"


async def test_validation_creates_nothing(store: Store, call: Call) -> None:
    checked = await import_card(store, call, a_card(), validate_only=True)
    assert (checked.epic.spec.title, [one.key for one in checked.tickets], checked.project_id) == (
        "Adder",
        [""] * 3,
        "",
    )
    assert await store.read(lambda reader: reader.live_tickets()) == []
    assert (await store.read(lambda reader: reader.projects(TENANT, Page())))[0] == []


async def test_faults_point_into_the_card(store: Store, call: Call) -> None:
    assert await faults(store, call, a_card(agent="nobody")) == ["/agent"]
    assert await faults(store, call, a_card(repository="ext::sh")) == ["/repository"]
    bad = a_card(features=[{"title": "A", "agent": "nobody"}, {"title": "B", "agent": "shell"}])
    assert await faults(store, call, bad) == ["/features/0/agent", "/features/1/input"]
    assert await faults(store, call, a_card(features=[{"title": "A", "depends_on": ["B"]}])) == [
        "/features/0/depends_on/0"
    ]
    assert await faults(store, call, a_card(repository="/srv/x.git"), allow_file=False) == ["/repository"]


async def test_the_agent_of_the_call_serves_features_without_one(store: Store, call: Call) -> None:
    features = [{"title": "A", "input": {"script": "true"}}, {"title": "B", "agent": "echo"}]
    imported = await import_card(store, call, a_card(features=features), agent="shell")
    assert [one.spec.agent for one in imported.tickets] == ["shell", "echo"]


async def test_held_cards_wait(store: Store, call: Call) -> None:
    imported = await import_card(store, call, a_card(), hold=True)
    assert {one.state for one in (imported.epic, *imported.tickets)} == {S.PENDING}


async def test_a_card_for_a_project_must_agree_on_the_repository(store: Store, call: Call) -> None:
    project = await store.write(lambda tx: projects.create_project(tx, call, ProjectSpec("P", "/srv/p.git")))
    with pytest.raises(InvalidInput) as error:
        await import_card(store, call, a_card(), project_id=project.id)
    assert [one.field for one in error.value.violations] == ["/repository"]
    imported = await import_card(store, call, a_card(repository="/srv/p.git"), project_id=project.id)
    assert imported.project_id == project.id
    with pytest.raises(NotFound):
        await import_card(store, a_call(tenant="another"), a_card(), project_id=project.id)


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        (ProjectSpec("P", "ssh://-oProxyCommand=x/y"), "/spec/repository"),
        (ProjectSpec("P", "https://u:p@example.org/x.git"), "/spec/repository"),
        (ProjectSpec("P", "https://example.org/x.git", "--upload-pack=x"), "/spec/default_branch"),
        (ProjectSpec("P", agent="nobody"), "/spec/agent"),
    ],
)
async def test_projects_that_cannot_be_are_refused(store: Store, call: Call, spec: ProjectSpec, pointer: str) -> None:
    with pytest.raises(InvalidInput) as error:
        await store.write(lambda tx: projects.create_project(tx, call, spec))
    assert [one.field for one in error.value.violations] == [pointer]


async def test_projects_are_updated_by_field_and_keep_their_repository(store: Store, call: Call) -> None:
    project = await store.write(lambda tx: projects.create_project(tx, call, ProjectSpec("P", "/srv/p.git")))
    with pytest.raises(AlreadyExists):
        await store.write(lambda tx: projects.create_project(tx, call, ProjectSpec("Q", "/srv/p.git")))
    new = ProjectSpec("Q", "/srv/q.git", max_concurrency=2)
    after = await store.write(lambda tx: projects.update_project(tx, call, project.id, new, ["max_concurrency"]))
    assert (after.spec.name, after.spec.max_concurrency) == ("P", 2)
    with pytest.raises(InvalidInput) as error:
        await store.write(lambda tx: projects.update_project(tx, call, project.id, new, ["repository"]))
    assert [one.field for one in error.value.violations] == ["/spec/repository"]
