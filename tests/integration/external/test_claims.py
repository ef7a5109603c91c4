"""The way of a ticket through a program that brings its own sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from swarm_sdk import (
    AbortedError,
    AttemptState,
    Claim,
    ClaimEvent,
    Client,
    ExternalWorker,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    Project,
    ProjectSpec,
    ResourceExhaustedError,
    SwarmError,
    TicketSpec,
    TicketState,
)
from tests.e2e.harness.upstream import Upstream
from tests.fakes.control import Control, control_plane, eventually
from tests.integration.external.conftest import AGENT, Claimed, clone, publish

S = TicketState


async def test_a_claim_becomes_a_pull_request(client: Client, claimed: Claimed, upstream: Upstream) -> None:
    claim, ticket = claimed.claim, claimed.ticket
    assert (ticket.state, claim.fence, claim.push_ref) == (S.TICKET_STATE_RUNNING, 1, "refs/heads/swarm/TKT-001/a1")
    assert claim.base == upstream.branches()["main"] == await claimed.clone.ok("rev-parse", "HEAD")
    head = await claimed.clone.commit("b.txt", "two\n")
    await claimed.clone.ok("push", "--quiet")
    assert "swarm/TKT-001/a1" not in upstream.branches(), "nothing goes upstream before it was scanned"
    answer = await client.tickets.complete(ticket.id, claim.fence, head=head, summary="ported")
    assert answer.ticket.state == S.TICKET_STATE_IN_REVIEW
    done = await client.tickets.wait(ticket.id)
    (attempt,) = await client.tickets.attempts(ticket.id)
    assert (attempt.state, attempt.head) == (AttemptState.ATTEMPT_STATE_SUCCEEDED, head)
    assert upstream.branches()["swarm/TKT-001/a1"] == upstream.branches()["swarm/TKT-001/pr"] == head
    pull_request = await client.pull_requests.get(done.pull_request_id)
    assert (pull_request.head, pull_request.base, pull_request.changed_files) == (head, claim.base, 1)
    assert "a sandbox of its own" in pull_request.body


async def test_a_ticket_without_a_repository_or_a_change_is_just_done(client: Client, claimed: Claimed) -> None:
    unchanged = await client.tickets.complete(claimed.ticket.id, 1)
    assert (unchanged.ticket.state, unchanged.ticket.state_reason) == (S.TICKET_STATE_COMPLETED, "nothing to change")
    await client.tickets.create(TicketSpec(title="think", agent=AGENT))
    claim = await client.tickets.claim()
    assert claim
    assert not claim.git_url
    with pytest.raises(InvalidArgumentError):
        await client.tickets.complete(claim.ticket.id, 1, head="a" * 40)
    assert (await client.tickets.complete(claim.ticket.id, 1)).ticket.state == S.TICKET_STATE_COMPLETED


async def test_what_the_scan_refuses_can_be_amended(client: Client, claimed: Claimed, upstream: Upstream) -> None:
    bad = await claimed.clone.commit("key.py", 'KEY = "' + "AKIA" + 'QWERTYUIOPASDFGH"\n')
    await claimed.clone.ok("push", "--quiet")
    with pytest.raises(FailedPreconditionError) as refused:
        await client.tickets.complete(claimed.ticket.id, 1, head=bad)
    assert refused.value.reason == "scan_refused"
    (violation,) = refused.value.violations
    assert violation.description.startswith("critical secret.aws-access-key key.py:1")
    assert "AKIA" not in violation.description
    later = await claimed.clone.commit("key.py", "KEY = None\n")
    await claimed.clone.ok("push", "--quiet")
    with pytest.raises(FailedPreconditionError, match="every commit"):
        await client.tickets.complete(claimed.ticket.id, 1, head=later)
    await claimed.clone.ok("reset", "--quiet", "--soft", "origin/main")
    good = await claimed.clone.commit("key.py", "KEY = None\n")
    await claimed.clone.ok("push", "--quiet")
    assert (await client.tickets.complete(claimed.ticket.id, 1, head=good)).ticket.state == S.TICKET_STATE_IN_REVIEW
    assert upstream.branches()["swarm/TKT-001/a1"] == good


async def test_the_head_is_what_was_pushed(client: Client, claimed: Claimed) -> None:
    head = await claimed.clone.commit("b.txt", "two\n")
    for other in (head, "f" * 40):
        with pytest.raises(FailedPreconditionError, match="push it first"):
            await client.tickets.complete(claimed.ticket.id, 1, head=other)
    await claimed.clone.ok("push", "--quiet")
    with pytest.raises(FailedPreconditionError, match="push it first"):
        await client.tickets.complete(claimed.ticket.id, 1)  # names nothing, and something is there
    await client.tickets.complete(claimed.ticket.id, 1, head=head)


async def test_claims_get_what_they_ask_for_in_order_of_rank(client: Client, project: Project) -> None:
    await publish(client, "other")
    for spec in (
        TicketSpec(title="late", agent=AGENT),
        TicketSpec(title="urgent", agent=f"{AGENT}@1.0.0", priority=0),
        TicketSpec(title="tagged", agent="other", tags=["gpu", "big"]),
        TicketSpec(title="of a project", project_id=project.id),
    ):
        await client.tickets.create(spec)

    async def title(*agents: str, project_id: str = "", tags: Sequence[str] = ()) -> str:
        claim = await client.tickets.claim(agents, project_id=project_id, tags=tags)
        return claim.ticket.spec.title if claim else ""

    assert await title(tags=["gpu", "small"]) == ""
    assert await title(tags=["gpu"]) == "tagged"
    assert await title(project_id=project.id) == "of a project"
    assert [await title(AGENT), await title(f"{AGENT}@1.0.0"), await title()] == ["urgent", "late", ""]


async def test_whose_tickets_nobody_can_claim_is_said(client: Client) -> None:
    with pytest.raises(NotFoundError, match="no agent nobody"):
        await client.tickets.claim([AGENT, "nobody"], wait_s=30)
    with pytest.raises(FailedPreconditionError, match="runs on hosts"):
        await client.tickets.claim(["echo"], wait_s=30)


async def test_tickets_of_an_external_agent_run_on_no_host(control: Control, client: Client) -> None:
    async with control.host() as host:
        await client.tickets.create(TicketSpec(title="for a program", agent=AGENT))
        await client.tickets.create(TicketSpec(title="for a host"))
        assert (await host.assignment()).title == "for a host"
        status = await client.coordinator.status()
        assert dict(status.unplaceable) == {"TKT-001": "waits for an external agent"}


async def test_a_claim_waits_for_a_ticket(client: Client) -> None:
    waiting = asyncio.create_task(client.tickets.claim([AGENT], wait_s=30))
    assert await client.tickets.claim([AGENT], wait_s=0.1) is None
    await client.tickets.create(TicketSpec(title="x", agent=AGENT))
    async with asyncio.timeout(60):
        claim = await waiting
    assert claim
    assert claim.ticket.key == "TKT-001"


async def test_nobody_claims_for_a_caller_that_has_gone(client: Client) -> None:
    waiting = asyncio.create_task(client.tickets.claim([AGENT], wait_s=30))
    await asyncio.sleep(0.2)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0.2)
    await client.tickets.create(TicketSpec(title="x", agent=AGENT))
    claim = await client.tickets.claim([AGENT], wait_s=10)
    assert claim


async def test_a_key_is_answered_with_the_same_claim(client: Client, project: Project) -> None:
    for title in ("one", "two"):
        await client.tickets.create(TicketSpec(title=title, project_id=project.id))
    first = await client.tickets.claim([AGENT], key="k")
    again = await asyncio.gather(*(client.tickets.claim([AGENT], key="k") for _ in range(3)))
    assert first
    assert {(each.ticket.id, each.fence, each.git_url) for each in again if each} == {
        (first.ticket.id, first.fence, first.git_url)
    }
    with pytest.raises(AbortedError):
        await client.tickets.claim(["other"], key="k")
    other = await client.tickets.claim([AGENT], key="k2")
    assert other
    assert other.ticket.key == "TKT-002"
    await client.tickets.complete(first.ticket.id, first.fence)
    with pytest.raises(FailedPreconditionError, match="over"):
        await client.tickets.claim([AGENT], key="k")


async def test_each_ticket_goes_to_one_claimer(client: Client) -> None:
    await client.tickets.create_all([TicketSpec(title=f"t{n}", agent=AGENT) for n in range(20)])
    taken: list[Claim] = []

    async def claimer() -> None:
        while claim := await client.tickets.claim([AGENT]):
            taken.append(claim)

    await asyncio.gather(*(claimer() for _ in range(8)))
    assert sorted(claim.ticket.key for claim in taken) == [f"TKT-{n:03d}" for n in range(1, 21)]
    assert {claim.fence for claim in taken} == {1}


async def test_a_project_has_no_more_at_once_than_it_may(client: Client, upstream: Upstream) -> None:
    spec = ProjectSpec(name="p", repository=str(upstream.path), agent=AGENT, max_concurrency=2)
    project = await client.projects.create(spec)
    await client.tickets.create_all([TicketSpec(title=f"t{n}", project_id=project.id) for n in range(4)])
    found = await asyncio.gather(*(client.tickets.claim([AGENT], wait_s=0.5) for _ in range(4)))
    claims = [claim for claim in found if claim]
    assert len(claims) == 2
    waiting = asyncio.create_task(client.tickets.claim([AGENT], wait_s=30))
    await client.tickets.complete(claims[0].ticket.id, claims[0].fence)
    assert await waiting


async def test_a_stopped_coordinator_gives_nothing(client: Client) -> None:
    await client.coordinator.stop()
    await client.tickets.create(TicketSpec(title="x", agent=AGENT))
    assert await client.tickets.claim([AGENT]) is None
    await client.coordinator.start()
    assert await client.tickets.claim([AGENT], wait_s=10)


async def test_heartbeats_carry_words_and_answers(client: Client, claimed: Claimed) -> None:
    ticket = claimed.ticket
    said = [ClaimEvent(type="log", text="working"), ClaimEvent(type="question", text="Which?")]
    before = claimed.claim.lease_expires_at.ToNanoseconds()
    beat = await client.tickets.heartbeat(ticket.id, 1, said)
    assert beat.lease_expires_at.ToNanoseconds() > before
    assert (await client.tickets.get(ticket.id)).state == S.TICKET_STATE_WAITING
    await client.tickets.answer(ticket.id, "That one")
    beat = await client.tickets.heartbeat(ticket.id, 1)
    (answer,) = beat.answers
    assert answer.text == "That one"
    assert not (await client.tickets.heartbeat(ticket.id, 1, answer_cursor=answer.seq)).answers
    (log,) = await client.tickets.events(ticket.id, types=["agent.log"])
    assert log.data["text"] == "working"
    with pytest.raises(InvalidArgumentError):
        await client.tickets.heartbeat(ticket.id, 1, [ClaimEvent(type="phase", text="x")])


@pytest.mark.parametrize("fence", [2, 9, 2**63 - 1])
async def test_a_wrong_fence_changes_nothing(client: Client, claimed: Claimed, fence: int) -> None:
    for call in (client.tickets.heartbeat(claimed.ticket.id, fence), client.tickets.complete(claimed.ticket.id, fence)):
        with pytest.raises(FailedPreconditionError) as refused:
            await call
        assert refused.value.reason == "stale_fence"
    assert (await client.tickets.get(claimed.ticket.id)).state == S.TICKET_STATE_RUNNING


async def test_a_ticket_on_a_host_is_no_claim(control: Control, client: Client) -> None:
    async with control.host() as host:
        ticket = await client.tickets.create(TicketSpec(title="for a host"))
        fence = (await host.assignment()).attempt.fence
        with pytest.raises(FailedPreconditionError) as refused:
            await client.tickets.heartbeat(ticket.id, fence)
        assert refused.value.reason == "stale_fence"


async def test_a_failure_is_tried_again_and_ends_in_the_dead_letter(client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x", agent=AGENT))
    claim = await client.tickets.claim([AGENT])
    assert claim
    await client.tickets.complete(ticket.id, 1, ok=False, summary="no idea", cause="tests_failed")
    claim = await client.tickets.claim([AGENT], wait_s=10)  # after a delay of one second
    assert claim
    assert claim.fence == 2
    done = await client.tickets.complete(ticket.id, 2, ok=False, cause="made up")
    assert list(done.ticket.causes) == ["tests_failed", "agent_crashed"]
    (first, second) = await client.tickets.attempts(ticket.id)
    assert (first.cause, first.reason, second.cause) == ("tests_failed", "no idea", "agent_crashed")


async def test_a_failure_is_recorded_once_when_its_answer_got_lost(client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x", agent=AGENT))
    assert await client.tickets.claim([AGENT])
    first = await client.tickets.complete(ticket.id, 1, ok=False, summary="no idea", cause="tests_failed")
    again = await client.tickets.complete(ticket.id, 1, ok=False, summary="no idea", cause="tests_failed")
    assert list(again.ticket.causes) == list(first.ticket.causes) == ["tests_failed"]
    for other in ({"cause": "timeout", "summary": "no idea"}, {"cause": "tests_failed"}):
        with pytest.raises(FailedPreconditionError) as refused:
            await client.tickets.complete(ticket.id, 1, ok=False, **other)
        assert refused.value.reason == "stale_fence"


async def test_retries_of_claims_wait_as_long_as_those_of_hosts(home: Path, tmp_path: Path) -> None:
    async with control_plane(home, retry_delays=(300.0,)) as control, control.client() as client:
        await publish(client)
        failed = await client.tickets.create(TicketSpec(title="x", agent=AGENT))
        assert await client.tickets.claim([AGENT])
        await client.tickets.complete(failed.id, 1, ok=False)
        upstream = Upstream.create(tmp_path / "away.git", {"README": "hello\n"})
        spec = ProjectSpec(name="p", repository=str(upstream.path), agent=AGENT)
        project = await client.projects.create(spec)
        unprepared = await client.tickets.create(TicketSpec(title="y", project_id=project.id))
        upstream.path.rename(tmp_path / "moved.git")
        assert await client.tickets.claim([AGENT]) is None
        for ticket in (failed, unprepared):
            (attempt,) = await client.tickets.attempts(ticket.id)
            assert attempt.retry_delay.seconds >= 300, attempt.cause


async def test_a_cancelled_ticket_stops_its_program(client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x", agent=AGENT))
    work = await ExternalWorker(client, [AGENT], lease_s=15).claim()
    assert work
    await client.tickets.cancel(ticket.id, "no longer wanted")
    with pytest.raises(FailedPreconditionError, match="no longer wanted"):
        async with work:
            await work.log("still here")


async def test_a_worker_that_gives_up_says_so(client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x", agent=AGENT))
    work = await ExternalWorker(client, [AGENT], name="box-1").claim()
    assert work
    with pytest.raises(RuntimeError, match="boom"):
        async with work:
            raise RuntimeError("boom")
    (attempt,) = await client.tickets.attempts(ticket.id)
    assert (attempt.cause, attempt.reason) == ("agent_crashed", "RuntimeError: boom")


async def test_a_question_through_the_worker(client: Client) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x", agent=AGENT))
    work = await ExternalWorker(client, [AGENT]).claim()
    assert work
    async with work:
        asking = asyncio.create_task(work.ask("Which?"))
        await client.tickets.wait(ticket.id, until={S.TICKET_STATE_WAITING}, timeout_s=10)
        await client.tickets.answer(ticket.id, "Both")
        await work.progress("on", {"fraction": 0.5})
        assert await asking == "Both"
        done = await work.succeed()
    assert done.state == S.TICKET_STATE_COMPLETED


async def test_dependents_start_from_what_they_depend_on(
    client: Client, project: Project, claimed: Claimed, tmp_path: Path
) -> None:
    """Two heads that conflict: the first is the base, the second is named as the first thing to do."""
    await client.tickets.create(TicketSpec(title="beside it", project_id=project.id))
    claim = await client.tickets.claim()
    assert claim
    heads = []
    for number, each in enumerate([claimed, Claimed(claim, await clone(claim, tmp_path / "beside"))]):
        heads.append(await each.clone.commit("a.txt", f"{number}\n"))
        await each.clone.ok("push", "--quiet")
        await client.tickets.complete(each.ticket.id, 1, head=heads[-1])
    await client.tickets.create(TicketSpec(title="on top", project_id=project.id, depends_on=["TKT-001", "TKT-002"]))
    claim = await client.tickets.claim([AGENT], wait_s=10)
    assert claim
    assert (claim.base, list(claim.conflicts), list(claim.merge_heads)) == (heads[0], ["a.txt"], [heads[1]])
    work = await clone(claim, tmp_path / "top")
    await work.ok("fetch", "--quiet", "origin", heads[1])
    assert await work.ok("rev-parse", "FETCH_HEAD") == heads[1]


async def test_a_repository_that_cannot_be_read_costs_the_claimer_nothing(
    client: Client, project: Project, upstream: Upstream, tmp_path: Path
) -> None:
    ticket = await client.tickets.create(TicketSpec(title="x", project_id=project.id))
    away = upstream.path.rename(tmp_path / "away.git")
    assert await client.tickets.claim([AGENT]) is None
    (attempt,) = await client.tickets.attempts(ticket.id)
    assert attempt.cause in {"git_down", "prepare_failed"}
    away.rename(upstream.path)
    claim = await client.tickets.claim([AGENT], wait_s=10)
    assert claim
    assert claim.fence == 2


async def test_who_stops_renewing_loses_the_ticket_and_its_branch_is_harmless(
    home: Path, upstream: Upstream, tmp_path: Path
) -> None:
    async with control_plane(home, lease_ttl=3) as control, control.client() as client:
        await publish(client)
        spec = ProjectSpec(name="p", repository=str(upstream.path), agent=AGENT)
        project = await client.projects.create(spec)
        ticket = await client.tickets.create(TicketSpec(title="x", project_id=project.id))
        late = await client.tickets.claim(lease_s=3)
        assert late
        zombie = await clone(late, tmp_path / "zombie")
        head = await zombie.commit("b.txt", "late\n")
        await zombie.ok("push", "--quiet")
        claim = await client.tickets.claim(wait_s=40)
        assert claim
        assert (claim.ticket.id, claim.fence) == (ticket.id, 2)
        (lost, _) = await client.tickets.attempts(ticket.id)
        assert (lost.state, lost.cause) == (AttemptState.ATTEMPT_STATE_LOST, "host_lost")
        with pytest.raises(FailedPreconditionError) as refused:
            await client.tickets.complete(ticket.id, 1, head=head)
        assert refused.value.reason == "stale_fence"
        pushed = await zombie.git("push")
        assert pushed.code
        assert "403" in pushed.err
        assert list(upstream.branches()) == ["main"]
        assert (await client.tickets.get(ticket.id)).state == S.TICKET_STATE_RUNNING


async def test_a_lease_has_bounds(client: Client) -> None:
    for seconds in (1, 14.9, 3601):
        with pytest.raises(InvalidArgumentError) as refused:
            await client.tickets.claim(lease_s=seconds)
        assert refused.value.violations[0].field == "/lease"
    with pytest.raises(SwarmError):
        await client.tickets.claim(wait_s=61)


async def test_repositories_of_claims_that_are_over_go(control: Control, client: Client, claimed: Claimed) -> None:
    folder = control.config.state_dir / "git" / "claims"
    assert len(list(folder.iterdir())) == 1
    await client.tickets.complete(claimed.ticket.id, 1)

    async def left() -> int:
        return len(list(folder.iterdir()))

    await eventually(left, 0)


async def test_heartbeats_and_other_calls_do_not_use_up_each_others_limit(home: Path) -> None:
    async with control_plane(home, rate_limit_admin=8) as control, control.client(retries=0) as client:
        await publish(client)
        await client.tickets.create(TicketSpec(title="think", agent=AGENT))
        claim = await client.tickets.claim()
        assert claim
        with pytest.raises(ResourceExhaustedError):
            await asyncio.gather(*(client.tickets.list() for _ in range(9)))
        for _ in range(8):
            await client.tickets.heartbeat(claim.ticket.id, claim.fence)
        with pytest.raises(ResourceExhaustedError):
            await client.tickets.heartbeat(claim.ticket.id, claim.fence)
