from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.event import Effect, NewEvent
from controlplane.domain.host import Capacity, HostState
from controlplane.domain.pullrequest import PullRequestState
from controlplane.domain.run import RunState, StepExecution, StepState, WorkflowRun
from controlplane.domain.ticket import Resources, TicketState
from controlplane.domain.vm import VmSample, VmState
from controlplane.domain.workflow import Workflow, WorkflowStep
from controlplane.errors import Conflict
from controlplane.ports import Page, Store, Tx
from tests.fakes.seeds import NOW, TENANT, a_host, a_project, a_pull_request, a_ticket, a_vm, an_agent
from tests.fakes.units import all_of

DAY = 24 * 3600.0


async def test_projects_are_found_by_id_and_repository_in_their_tenant(store: Store) -> None:
    first, second = a_project(1), a_project(2, repository="")
    await store.write(all_of(lambda tx: tx.add_project(first), lambda tx: tx.add_project(second)))
    changed = replace(first, spec=replace(first.spec, test_command="make test", max_concurrency=3))
    await store.write(lambda tx: tx.save_project(changed))
    assert await store.read(lambda reader: reader.project(TENANT, first.id)) == changed
    assert await store.read(lambda reader: reader.project_by_repository(TENANT, first.spec.repository)) == changed
    assert await store.read(lambda reader: reader.project("another", first.id)) is None
    assert await store.read(lambda reader: reader.projects_by_id([second.id, "pj_9"])) == [second]
    found, token = await store.read(lambda reader: reader.projects(TENANT, Page(1)))
    assert found == [changed]
    assert await store.read(lambda reader: reader.projects(TENANT, Page(1, token))) == ([second], "")


async def test_pull_requests_belong_to_the_tenant_of_their_ticket(store: Store) -> None:
    ours, theirs = a_ticket(1), a_ticket(2, tenant_id="another")
    await store.write(lambda tx: tx.add_tickets([ours, theirs]))
    mine = a_pull_request(ours, 1)
    await store.write(
        all_of(lambda tx: tx.add_pull_request(mine), lambda tx: tx.add_pull_request(a_pull_request(theirs, 2)))
    )
    merged = replace(mine, state=PullRequestState.MERGED, merge_commit="c" * 40, merged_at=NOW, additions=7)
    await store.write(lambda tx: tx.save_pull_request(merged))
    assert await store.read(lambda reader: reader.pull_request(TENANT, mine.id)) == merged
    assert await store.read(lambda reader: reader.pull_request(TENANT, "TKT-001")) == merged
    assert await store.read(lambda reader: reader.pull_request(TENANT, "TKT-002")) is None
    assert await store.read(lambda reader: reader.pull_request_of(ours.id)) == merged
    assert (await store.read(lambda reader: reader.pull_requests(TENANT, "", None, Page())))[0] == [merged]
    assert (await store.read(lambda reader: reader.pull_requests(TENANT, "pj_2", None, Page())))[0] == []
    is_open = PullRequestState.OPEN
    assert (await store.read(lambda reader: reader.pull_requests(TENANT, "pj_1", is_open, Page())))[0] == []
    assert await store.write(lambda tx: (tx.next_pull_request_number("a"), tx.next_pull_request_number("a"))) == (1, 2)


async def test_hosts_show_what_is_leased_to_them(store: Store) -> None:
    host = a_host(1, labels={"zone": "a"}, images=("default",), drivers=("qemu",), warnings=("TCG",), boot_id="b")
    await store.write(all_of(lambda tx: tx.save_host(host), lambda tx: tx.save_host(a_host(2))))
    size = Resources(2, 512, 1024)
    tickets = [
        a_ticket(1, TicketState.RUNNING, host_id=host.id, resources=size),
        a_ticket(2, TicketState.WAITING, host_id=host.id, resources=size),
        a_ticket(3, TicketState.FAILED, resources=size),
    ]
    await store.write(lambda tx: tx.add_tickets(tickets))
    used = replace(host, used=Capacity(2, 4, 1024, 2048))
    assert await store.read(lambda reader: reader.host(host.id)) == used
    assert await store.read(lambda reader: reader.host(host.name)) == used
    await store.write(lambda tx: tx.set_host_state(host.id, HostState.CORDONED))
    found, token = await store.read(lambda reader: reader.hosts(Page(1)))
    assert found == [replace(used, state=HostState.CORDONED)]
    assert await store.read(lambda reader: reader.hosts(Page(1, token))) == ([a_host(2)], "")


async def test_vms_are_updated_and_listed(store: Store) -> None:
    sample = VmSample(NOW, 1.5, 2, 3, 4, 5)
    running, stopped = a_vm(1), a_vm(2, host_id="hs_2", state=VmState.STOPPED, stopped_at=NOW)
    await store.write(lambda tx: tx.save_vms([running, stopped]))
    sampled = replace(running, sample=sample, state=VmState.PAUSED)
    await store.write(lambda tx: tx.save_vms([sampled]))
    assert await store.read(lambda reader: reader.vm(running.id)) == sampled

    async def listed(host_id: str, *, stopped: bool) -> list[str]:
        found, _ = await store.read(lambda reader: reader.vms(host_id, include_stopped=stopped, page=Page()))
        return [one.id for one in found]

    assert await listed("", stopped=False) == ["vm_1"]
    assert await listed("", stopped=True) == ["vm_1", "vm_2"]
    assert await listed("hs_2", stopped=True) == ["vm_2"]


async def test_the_newest_agent_answers_to_its_bare_name(store: Store) -> None:
    old, new = an_agent(version="1.9.0"), an_agent(version="1.10.0", digest="e" * 64, published_at=NOW + 1)
    await store.write(all_of(lambda tx: tx.add_agent(new, b"new"), lambda tx: tx.add_agent(old, b"old")))
    assert await store.read(lambda reader: reader.agent(None, "echo")) == new
    assert await store.read(lambda reader: reader.agent(None, "echo", "1.9.0")) == old
    assert await store.read(lambda reader: reader.agent(None, "nobody")) is None
    assert await store.read(lambda reader: reader.agents(None)) == [old, new]
    assert await store.read(lambda reader: reader.bundle(new.digest)) == b"new"
    assert await store.read(lambda reader: reader.bundle("0" * 64)) is None


async def test_the_outbox_gives_each_effect_until_it_is_done(store: Store) -> None:
    first, second = Effect("a", "open", {"n": 1}), Effect("b", "open", {"n": 2})
    await store.write(lambda tx: tx.add_effects([first, second], NOW))
    await store.write(lambda tx: tx.add_effects([replace(first, payload={"n": 9})], NOW))

    async def due(now: float) -> list[Effect]:
        return await store.read(lambda reader: reader.due_effects(now, 10))

    assert await due(NOW) == [first, second]
    assert await store.read(lambda reader: reader.due_effects(NOW, 1)) == [first]
    await store.write(lambda tx: tx.effect_failed("a", "away", NOW + 5))
    assert await due(NOW + 4) == [second]
    await store.write(lambda tx: tx.effect_done("b", NOW))
    assert await due(NOW + 5) == [first]
    await store.write(lambda tx: tx.effect_done("a", NOW))
    # Late news of a failure must not bring back what is done, nor may the same key be added again.
    await store.write(all_of(lambda tx: tx.effect_failed("a", "late", NOW), lambda tx: tx.add_effects([first], NOW)))
    assert await due(NOW + DAY) == []


async def test_answers_are_remembered_for_a_day_per_principal(store: Store) -> None:
    await store.write(lambda tx: tx.remember("alice", "k", "hash", b"\x00answer", NOW))
    assert await store.read(lambda reader: reader.replay("alice", "k")) == ("hash", b"\x00answer")
    assert await store.read(lambda reader: reader.replay("bob", "k")) is None
    await store.write(lambda tx: tx.remember("bob", "other", "hash", b"", NOW + DAY + 1))
    assert await store.read(lambda reader: reader.replay("alice", "k")) is None


async def test_settings_and_link_positions(store: Store) -> None:
    await store.write(
        all_of(lambda tx: tx.set_setting("a", {"x": [1, None]}), lambda tx: tx.set_link_position("hs_1", "boot-1", 7))
    )
    assert await store.read(lambda reader: reader.setting("a")) == {"x": [1, None]}
    assert await store.read(lambda reader: reader.setting("b")) is None
    assert await store.read(lambda reader: reader.link_position("hs_1", "boot-1")) == 7
    assert await store.read(lambda reader: reader.link_position("hs_1", "boot-2")) == 0
    await store.write(lambda tx: tx.set_link_position("hs_1", "boot-2", 3))
    assert await store.read(lambda reader: reader.link_position("hs_1", "boot-1")) == 0


async def test_an_audit_row_stands_with_the_act_or_not_at_all(store: Store) -> None:
    await store.write(lambda tx: tx.add_audit("ticket.create", "alice", "rq_1", {"key": "TKT-001"}, NOW))
    rows = await store.read(lambda reader: reader.audit(0, 10))
    assert [(row.seq, row.action, row.principal, row.request_id, row.data) for row in rows] == [
        (1, "ticket.create", "alice", "rq_1", {"key": "TKT-001"})
    ]


async def test_workflows_are_found_by_name_and_newest_first(store: Store) -> None:
    steps = (WorkflowStep("b", "shell", ("a",), {"x": [1, {"y": None}]}, "words"), WorkflowStep("a", "echo@1.0.0"))
    old = Workflow("flow", "2.0.0", "", "", steps, "d" * 64, built_in=True, published_at=NOW)
    new = replace(old, version="1.0.0", image="big", published_at=NOW + 1)
    await store.write(all_of(lambda tx: tx.add_workflow(new), lambda tx: tx.add_workflow(old)))
    await store.write(lambda tx: tx.add_workflow(replace(old, description="again")))
    assert await store.read(lambda reader: reader.workflow(None, "flow")) == new
    assert await store.read(lambda reader: reader.workflow(None, "flow", "2.0.0")) == replace(old, description="again")
    assert await store.read(lambda reader: reader.workflow(None, "flow", "3.0.0")) is None
    assert [each.version for each in await store.read(lambda reader: reader.workflows(None))] == ["2.0.0", "1.0.0"]


async def test_runs_are_kept_with_their_steps_in_their_tenant(store: Store) -> None:
    steps = (
        StepExecution("a", "shell", StepState.SUCCEEDED, NOW, NOW + 1, 0, "fine", {"x": [1, "ü"]}),
        StepExecution("b", "echo", StepState.RUNNING, NOW + 1),
    )
    run = WorkflowRun("wr_1", TENANT, "tk_1", "at_1", "flow@1.0.0", RunState.RUNNING, NOW, steps)
    other = replace(run, id="wr_2", ticket_id="tk_2", attempt_id="at_2", steps=steps[:1])
    foreign = replace(run, id="wr_3", tenant_id="another", attempt_id="at_3")
    await store.write(lambda tx: tx.save_workflow_runs([run, other, foreign]))
    ended = replace(steps[1], state=StepState.FAILED, finished_at=NOW + 2, exit_code=3, summary="no")
    failed = replace(run, state=RunState.FAILED, reason="why", finished_at=NOW + 2, steps=(steps[0], ended))
    await store.write(lambda tx: tx.save_workflow_runs([failed]))
    assert await store.read(lambda reader: reader.workflow_run(TENANT, "wr_1")) == failed
    assert await store.read(lambda reader: reader.workflow_run(TENANT, "wr_3")) is None
    assert await store.read(lambda reader: reader.workflow_run_of("at_3")) == foreign
    assert await store.read(lambda reader: reader.workflow_run_of("at_9")) is None
    assert await store.read(lambda reader: reader.workflow_runs(TENANT, "tk_2", Page())) == ([other], "")
    first, token = await store.read(lambda reader: reader.workflow_runs(TENANT, "", Page(1)))
    assert first == [failed]
    assert await store.read(lambda reader: reader.workflow_runs(TENANT, "", Page(1, token))) == ([other], "")


async def test_bytes_of_events_are_counted_and_forgotten_with_what_is_undone(store: Store) -> None:
    first = NewEvent("ticket:tk_1", "x", {"text": "a" * 100})

    def add(tx: Tx) -> None:
        tx.add_events([first], NOW)
        tx.add_event_bytes(first.topic, 100)

    await store.write(add)  # nobody asked yet
    before = await store.write(lambda tx: tx.event_bytes(first.topic))
    assert 100 < before < 130

    def fail(tx: Tx) -> None:
        add(tx)
        assert tx.event_bytes(first.topic) == before + 100
        raise Conflict("undone")

    with pytest.raises(Conflict):
        await store.write(fail)
    assert await store.write(lambda tx: tx.event_bytes(first.topic)) == before
    await store.write(add)
    assert await store.write(lambda tx: tx.event_bytes(first.topic)) == before + 100
