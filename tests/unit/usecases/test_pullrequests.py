from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.call import Call
from controlplane.domain.pullrequest import PullRequest, PullRequestState
from controlplane.domain.ticket import Ticket, TicketState
from controlplane.errors import FailedPrecondition, NotFound
from controlplane.ports import MergeResult, Store, Tx
from controlplane.usecases import pullrequests
from controlplane.usecases.services import Services
from tests.fakes.fleet import FakeForge
from tests.fakes.seeds import NOW, TENANT, a_call, a_project, a_pull_request, a_ticket

S = TicketState


async def in_review(store: Store, number: int, *depends_on: str, base_branch: str = "main") -> PullRequest:
    """A ticket in review with its pull request open."""
    ticket = a_ticket(number, S.IN_REVIEW, project_id="pj_1", depends_on=depends_on, head=f"{number}" * 40, fence=1)
    opened = a_pull_request(ticket, number, base_branch=base_branch)

    def add(tx: Tx) -> None:
        if tx.project(TENANT, "pj_1") is None:
            tx.add_project(a_project())
        tx.add_tickets([replace(ticket, pull_request_id=opened.id)])
        tx.add_pull_request(opened)

    await store.write(add)
    return opened


async def ticket_of(store: Store, number: int) -> Ticket:
    found = await store.read(lambda reader: reader.ticket(TENANT, f"tk_{number}"))
    assert found is not None
    return found


async def test_a_merge_completes_the_ticket(store: Store, services: Services, forge: FakeForge, call: Call) -> None:
    await in_review(store, 1)
    merged = await pullrequests.merge(services, call, "TKT-001")
    assert (merged.state, merged.merge_commit, merged.merged_at) == (PullRequestState.MERGED, "m" * 40, NOW)
    assert await store.read(lambda reader: reader.pull_request_of("tk_1")) == merged
    assert (await ticket_of(store, 1)).state is S.COMPLETED
    events = await store.read(lambda reader: reader.events("ticket:tk_1", 0, 9))
    assert [one.type for one in events] == ["pull_request.merged", "ticket.state"]
    # Merging again asks the forge for nothing.
    calls = list(forge.calls)
    assert await pullrequests.merge(services, call, "pr_1") == merged
    assert forge.calls == calls


async def test_a_conflict_names_the_paths_and_changes_nothing(
    store: Store, services: Services, forge: FakeForge, call: Call
) -> None:
    opened = await in_review(store, 1)
    forge.result = MergeResult("", tuple(f"src/{number}.py" for number in range(30)))
    with pytest.raises(FailedPrecondition) as error:
        await pullrequests.merge(services, call, "TKT-001")
    assert error.value.reason == "merge_conflict"
    assert "src/0.py" in error.value.message
    assert "and 10 more" in error.value.message
    assert await store.read(lambda reader: reader.pull_request_of("tk_1")) == opened
    assert (await ticket_of(store, 1)).state is S.IN_REVIEW


async def test_stacked_pull_requests_merge_from_the_bottom_up(
    store: Store, services: Services, forge: FakeForge, call: Call
) -> None:
    await in_review(store, 1)
    await in_review(store, 2)
    await in_review(store, 3, "tk_1", "tk_2", base_branch="swarm/TKT-003/base")
    with pytest.raises(FailedPrecondition, match="TKT-001, TKT-002"):
        await pullrequests.merge(services, call, "TKT-003")
    assert ("merge", "pr_3", "swarm/TKT-003/base") not in forge.calls
    await pullrequests.merge(services, call, "TKT-001")
    waiting = await store.read(lambda reader: reader.pull_request_of("tk_3"))
    assert waiting is not None
    assert waiting.base_branch == "swarm/TKT-003/base"
    await pullrequests.merge(services, call, "TKT-002")
    retargeted = await store.read(lambda reader: reader.pull_request_of("tk_3"))
    assert retargeted == replace(waiting, base_branch="main")
    assert (await pullrequests.merge(services, call, "TKT-003")).state is PullRequestState.MERGED
    assert forge.calls[-1] == ("merge", "pr_3", "main")


async def test_a_closed_pull_request_fails_its_ticket_and_blocks_dependents(store: Store, call: Call) -> None:
    await in_review(store, 1)
    await store.write(lambda tx: tx.add_tickets([a_ticket(2, S.READY, depends_on=("tk_1",))]))
    closed = await store.write(lambda tx: pullrequests.close(tx, call, "TKT-001"))
    assert closed.state is PullRequestState.CLOSED
    assert (await ticket_of(store, 1)).state is S.FAILED
    assert (await ticket_of(store, 2)).state is S.BLOCKED
    assert await store.write(lambda tx: pullrequests.close(tx, call, "TKT-001")) == closed


async def test_what_is_over_stays_over(store: Store, services: Services, call: Call) -> None:
    await in_review(store, 1)
    await in_review(store, 2)
    await pullrequests.merge(services, call, "TKT-001")
    with pytest.raises(FailedPrecondition):
        await store.write(lambda tx: pullrequests.close(tx, call, "TKT-001"))
    await store.write(lambda tx: pullrequests.close(tx, call, "TKT-002"))
    with pytest.raises(FailedPrecondition):
        await pullrequests.merge(services, call, "TKT-002")


async def test_a_ticket_that_runs_again_is_not_merged(
    store: Store, services: Services, forge: FakeForge, call: Call
) -> None:
    await in_review(store, 1)
    ticket = await ticket_of(store, 1)
    await store.write(lambda tx: tx.save_tickets([(ticket, replace(ticket, state=S.RUNNING))]))
    with pytest.raises(FailedPrecondition, match="running"):
        await pullrequests.merge(services, call, "TKT-001")
    assert forge.calls == []


async def test_a_diff_is_cut_at_its_limit(store: Store, services: Services, forge: FakeForge, call: Call) -> None:
    opened = await in_review(store, 1)
    forge.patch = b"+" * (pullrequests.MAX_DIFF + 1)
    diff, truncated = await pullrequests.diff(services, call, "TKT-001")
    assert (len(diff), truncated) == (pullrequests.MAX_DIFF, True)
    assert forge.calls == [("diff", opened.base, opened.head)]


async def test_another_tenant_sees_and_merges_nothing(store: Store, services: Services, call: Call) -> None:
    await in_review(store, 1)
    stranger = a_call(tenant="another")
    with pytest.raises(NotFound):
        await pullrequests.merge(services, stranger, "pr_1")
    with pytest.raises(NotFound):
        await pullrequests.diff(services, stranger, "pr_1")
    with pytest.raises(NotFound):
        await store.write(lambda tx: pullrequests.close(tx, stranger, "pr_1"))
