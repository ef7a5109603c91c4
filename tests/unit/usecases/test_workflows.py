"""Publishing workflows, filing tickets for them, and what is recorded of their runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from controlplane.app import WORKFLOWS
from controlplane.domain.call import Call
from controlplane.domain.lease import TIMES, LeaseRef
from controlplane.domain.mapping import Rule, Runner
from controlplane.domain.run import RunState, WorkflowRun
from controlplane.domain.ticket import BootTiming, Resources, Ticket, TicketSpec, TicketState, TicketType
from controlplane.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, StartError
from controlplane.ports import Page, Store, Work
from controlplane.usecases import assignments, mapping, placement, projects, runs, tickets, workflows
from controlplane.usecases.placement import AgentEvent, AttemptResult
from tests.fakes.seeds import NOW, TENANT, a_call, a_host, a_project, a_ticket, an_agent, an_attempt

S = TicketState
LATER = NOW + 10


def manifest(version: str = "1.0.0", name: str = "flow", **fields: Any) -> dict[str, Any]:
    steps = [
        {"name": "one", "agent": "shell"},
        {"name": "two", "agent": "echo", "needs": ["one"], "input": {"x": 1}},
    ]
    return {"name": name, "version": version, "steps": steps, **fields}


async def publish(store: Store, call: Call, content: dict[str, Any]) -> Any:
    return await store.write(lambda tx: workflows.publish_workflow(tx, call, content))


@pytest.fixture
async def flow(store: Store, call: Call) -> str:
    return str((await publish(store, call, manifest())).ref)


async def file(store: Store, call: Call, **fields: Any) -> Ticket:
    spec = TicketSpec(**{"title": "x", **fields})
    return await store.write(lambda tx: tickets.create_ticket(tx, call, spec, hold=False))


async def faults(store: Store, call: Call, **fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as error:
        await file(store, call, **fields)
    return {each.field: each.description for each in error.value.violations}


async def test_publishing_is_idempotent_and_a_version_never_changes(store: Store, call: Call, flow: str) -> None:
    first = await store.read(lambda reader: workflows.get_workflow(reader, call, "flow"))
    assert await publish(store, call, manifest()) == first
    with pytest.raises(AlreadyExists, match=r"flow@1\.0\.0"):
        await publish(store, call, manifest(description="other"))
    newer = await publish(store, a_call(LATER), manifest("1.1.0"))
    assert await store.read(lambda reader: workflows.get_workflow(reader, call, "flow")) == newer
    with pytest.raises(NotFound):
        await store.read(lambda reader: workflows.get_workflow(reader, call, "flow@9.0.0"))


async def test_a_manifest_is_checked_against_the_registry(store: Store, call: Call) -> None:
    await store.write(lambda tx: tx.add_agent(an_agent("big", image="big"), b""))
    one, big = {"name": "one", "agent": "shell"}, {"name": "two", "agent": "big"}
    for broken, field in (
        (manifest(steps=[one, {"name": "two", "agent": "nobody"}]), "/manifest/steps/1/agent"),
        (manifest(steps=[one, big]), "/manifest/image"),
        (manifest(version="1"), "/manifest/version"),
    ):
        with pytest.raises(InvalidInput) as error:
            await publish(store, call, broken)
        assert [each.field for each in error.value.violations] == [field]
    await publish(store, call, manifest(steps=[one, big], image="big"))


async def test_built_in_workflows_come_anew_and_keep_their_names(store: Store, call: Call, tmp_path: Path) -> None:
    await store.write(lambda tx: tx.add_agent(an_agent("claude", image="claude"), b""))
    await store.write(lambda tx: tx.add_agent(an_agent("claude-code", image="claude-code"), b""))
    for _ in range(2):
        assert len(await workflows.register_builtins(store, WORKFLOWS)) == 4
    assert len(await store.read(lambda reader: reader.workflows(None))) == 4
    with pytest.raises(AlreadyExists, match="built-in"):
        await publish(store, call, manifest("9.0.0", name="script"))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(StartError):
        await workflows.register_builtins(store, tmp_path)


async def test_a_ticket_keeps_the_version_that_its_input_was_checked_against(
    store: Store, call: Call, flow: str
) -> None:
    ticket = await file(store, call, workflow="flow", input={"one": {"script": "true"}})
    await publish(store, a_call(LATER), manifest("2.0.0", steps=[{"name": "only", "agent": "echo"}]))
    assert (ticket.spec.workflow, ticket.spec.agent) == ("flow@1.0.0", "")
    work = await store.read(lambda reader: assignments.find_work(reader, ticket, None))
    assert isinstance(work, Work)
    assert [(each.step.name, each.agent.name, each.input) for each in work.steps] == [
        ("one", "shell", {"script": "true"}),
        ("two", "echo", {"x": 1}),
    ]


async def test_faults_of_a_workflows_input_have_their_pointers(store: Store, call: Call, flow: str) -> None:
    assert await faults(store, call, workflow="flow") == {"/spec/input/one": "'script' is a required property"}
    found = await faults(store, call, workflow="flow", input={"one": {"script": 7}, "x/y": {}})
    assert set(found) == {"/spec/input/one/script", "/spec/input/x~1y"}
    assert set(await faults(store, call, workflow="flow", input={"one": 7})) == {"/spec/input/one"}
    assert set(await faults(store, call, workflow="none")) == {"/spec/workflow"}
    assert set(await faults(store, call, workflow="flow", agent="echo")) == {"/spec/workflow"}


async def test_ticket_before_mapping_before_project_before_echo(store: Store, call: Call, flow: str) -> None:
    await store.write(lambda tx: tx.add_project(a_project(workflow="flow")))
    given = {"one": {"script": "true"}}
    assert (await file(store, call)).spec.agent == "echo"
    assert (await file(store, call, project_id="pj_1", input=given)).spec.workflow == flow
    rules = [Rule(Runner(agent="echo"), project_id="pj_1"), Rule(Runner(workflow="flow"), TicketType.BUG, ("api",))]
    assert await store.write(lambda tx: mapping.set_mapping(tx, call, rules)) == tuple(rules)
    assert await store.read(lambda reader: mapping.get_mapping(reader, call)) == tuple(rules)
    assert await store.read(lambda reader: mapping.get_mapping(reader, a_call(tenant="another"))) == ()
    assert (await file(store, call, project_id="pj_1")).spec.agent == "echo"
    assert (await file(store, call, type=TicketType.BUG, tags=("x", "api"), input=given)).spec.workflow == flow
    assert (await file(store, call, agent="shell", project_id="pj_1", input={"script": ""})).spec.agent == "shell"
    epic = await file(store, call, type=TicketType.EPIC)
    assert (epic.spec.agent, epic.spec.workflow) == ("", "")


async def test_every_fault_of_a_mapping_is_named_and_nothing_changes(store: Store, call: Call, flow: str) -> None:
    rules = [
        Rule(Runner()),
        Rule(Runner("echo", "flow")),
        Rule(Runner("nobody"), project_id="pj_9"),
        Rule(Runner(workflow="none"), TicketType.EPIC),
    ]
    with pytest.raises(InvalidInput) as error:
        await store.write(lambda tx: mapping.set_mapping(tx, call, rules))
    assert {each.field for each in error.value.violations} == {
        "/mapping/rules/0",
        "/mapping/rules/1/workflow",
        "/mapping/rules/2/agent",
        "/mapping/rules/2/project_id",
        "/mapping/rules/3/workflow",
        "/mapping/rules/3/type",
    }
    assert await store.read(lambda reader: mapping.get_mapping(reader, call)) == ()


async def test_a_project_names_an_agent_or_a_workflow(store: Store, call: Call, flow: str) -> None:
    spec = a_project(agent="echo", workflow="flow").spec
    with pytest.raises(InvalidInput) as error:
        await store.write(lambda tx: projects.create_project(tx, call, spec))
    assert [each.field for each in error.value.violations] == ["/spec/workflow"]


async def test_a_ticket_whose_image_no_host_has_is_refused_until_one_has(store: Store, call: Call) -> None:
    await store.write(lambda tx: tx.add_agent(an_agent("big", image="big"), b""))
    await publish(store, call, manifest(image="big"))
    given = {"one": {"script": "true"}}
    for fields, field in (
        ({"agent": "big"}, "/spec/agent"),
        ({"workflow": "flow", "input": given}, "/spec/workflow"),
        ({"resources": Resources(image="big")}, "/spec/resources/image"),
    ):
        with pytest.raises(FailedPrecondition, match="swarm image build big") as error:
            await file(store, call, **fields)
        assert error.value.reason == "image_missing"
        assert [each.field for each in error.value.violations] == [field]
    await file(store, call, agent="big", resources=Resources(image="default"))
    assert len(await store.read(lambda reader: reader.live_tickets())) == 1
    await store.write(lambda tx: tx.save_host(a_host(images=("big",))))
    assert (await file(store, call, workflow="flow", input=given)).state is S.READY


# What is recorded of a run

REF = LeaseRef("at_1", "tk_1", 2)


async def lease(store: Store, **fields: Any) -> Ticket:
    held = {"fence": 2, "attempts": 1, "host_id": "hs_1", "attempt_id": "at_1", "lease_expires_at": NOW + TIMES.ttl_s}
    ticket = a_ticket(1, S.RUNNING, **{**held, **fields})
    await store.write(lambda tx: tx.add_tickets([ticket]))
    await store.write(lambda tx: tx.add_attempts([an_attempt(ticket, id="at_1")]))
    await store.write(lambda tx: placement.started(tx, "hs_1", REF, NOW, vm_id="vm_1", boot=BootTiming()))
    return ticket


async def tell(store: Store, *said: tuple[str, str, dict[str, Any]]) -> None:
    events = [AgentEvent(number, kind, text, data) for number, (kind, text, data) in enumerate(said, 1)]
    await store.write(lambda tx: placement.agent_events(tx, "hs_1", REF, LATER, events))


async def recorded(store: Store) -> Sequence[WorkflowRun]:
    return (await store.read(lambda reader: reader.workflow_runs(TENANT, "tk_1", Page())))[0]


def states(run: WorkflowRun) -> list[str]:
    return [step.state.value for step in run.steps]


async def test_a_run_follows_what_its_guest_reports(store: Store, call: Call, flow: str) -> None:
    await lease(store, workflow=flow)
    (run,) = await recorded(store)
    assert (run.state, run.workflow, states(run)) == (RunState.RUNNING, flow, ["pending", "pending"])
    await tell(store, ("step", "one", {"state": "running"}), ("output", "", {"x": 1}))
    await tell(store, ("step", "one", {"state": "succeeded", "summary": "fine"}), ("step", "two", {"state": "running"}))
    result = AttemptResult(ok=True, reason="done")
    await store.write(lambda tx: placement.finished(tx, "hs_1", REF, LATER, result))
    (run,) = await recorded(store)
    assert (run.state, run.reason, run.finished_at) == (RunState.SUCCEEDED, "done", LATER)
    assert (run.steps[0].summary, run.steps[0].outputs) == ("fine", {"x": 1})
    assert await store.read(lambda reader: runs.get_run(reader, call, run.id)) == run
    with pytest.raises(NotFound):
        await store.read(lambda reader: runs.get_run(reader, a_call(tenant="another"), run.id))


async def failed(store: Store, _ticket: Ticket, _call: Call) -> None:
    result = AttemptResult(ok=False, phase="agent", reason="step one: no", exit_code=1)
    await store.write(lambda tx: placement.finished(tx, "hs_1", REF, LATER, result))


async def vm_lost(store: Store, _ticket: Ticket, _call: Call) -> None:
    await store.write(lambda tx: placement.lost(tx, "hs_1", REF, LATER, cause="vm_lost", reason="gone"))


async def host_lost(store: Store, ticket: Ticket, _call: Call) -> None:
    await store.write(lambda tx: placement.lose_all(tx, [ticket], LATER, cause="host_lost", reason="gone"))


async def cancelled(store: Store, ticket: Ticket, call: Call) -> None:
    await store.write(lambda tx: tickets.cancel_ticket(tx, call, ticket.id, "no"))


@pytest.mark.parametrize(
    ("end", "state"), [(failed, "failed"), (vm_lost, "lost"), (host_lost, "lost"), (cancelled, "cancelled")]
)
async def test_however_an_attempt_ends_its_run_is_closed(
    store: Store, call: Call, flow: str, end: Any, state: str
) -> None:
    ticket = await lease(store, workflow=flow)
    await tell(store, ("step", "one", {"state": "running"}))
    await end(store, (await store.read(lambda reader: reader.tickets_by_id([ticket.id])))[0], call)
    (run,) = await recorded(store)
    assert (run.state.value, states(run)) == (state, [state, "skipped"])
    assert run.reason
    assert run.finished_at is not None


async def test_a_ticket_without_a_workflow_has_no_run(store: Store) -> None:
    await lease(store)
    await tell(store, ("step", "one", {"state": "running"}), ("output", "", {"x": 1}))
    assert await recorded(store) == []
