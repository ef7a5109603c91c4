"""Claims outlive the control plane that gave them."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from swarm_sdk import Client, ProjectSpec, TicketSpec, TicketState, UnavailableError
from tests.e2e.harness.upstream import Upstream
from tests.integration.controlplane.test_process import process
from tests.integration.external.conftest import AGENT, clone, publish

S = TicketState


@pytest.fixture
async def ready(home: Path, upstream: Upstream) -> None:
    """A state directory with one ticket for an external agent, and no control plane."""
    async with process(home), Client.open(home) as client:
        await publish(client)
        project = await client.projects.create(ProjectSpec(name="p", repository=str(upstream.path), agent=AGENT))
        await client.tickets.create_all([TicketSpec(title=f"t{n}", project_id=project.id) for n in range(2)])


async def test_a_claim_goes_on_after_a_kill(ready: None, home: Path, upstream: Upstream, tmp_path: Path) -> None:
    async with process(home) as started, Client.open(home) as client:
        claim = await client.tickets.claim([AGENT])
        assert claim
        work = await clone(claim, tmp_path / "work")
        head = await work.commit("b.txt", "two\n")
        started.kill()
        await started.wait()
        assert (await work.git("push")).code
    async with process(home, SWARM_FAILPOINT="claim_published_before_recorded=kill") as started:
        async with Client.open(home, retries=0) as client:
            await work.ok("push", "--quiet")
            await client.tickets.heartbeat(claim.ticket.id, claim.fence)
            with pytest.raises(UnavailableError):
                await client.tickets.complete(claim.ticket.id, claim.fence, head=head, key="k")
        assert await started.wait() == -signal.SIGKILL
    assert upstream.branches()["swarm/TKT-001/a1"] == head
    async with process(home), Client.open(home) as client:
        done = await client.tickets.complete(claim.ticket.id, claim.fence, head=head, key="k")
        assert done.ticket.state == S.TICKET_STATE_IN_REVIEW
        again = await client.tickets.complete(claim.ticket.id, claim.fence, head=head)
        assert again.ticket.id == done.ticket.id, "an end that was recorded is told again to who missed it"
        assert (await client.tickets.wait(claim.ticket.id)).pull_request_id


async def test_who_missed_the_answer_to_a_claim_gets_it_by_its_key(ready: None, home: Path) -> None:
    async with process(home, SWARM_FAILPOINT="claim_leased_before_answered=kill") as started:
        async with Client.open(home, retries=0) as client:
            with pytest.raises(UnavailableError):
                await client.tickets.claim([AGENT], key="k")
        assert await started.wait() == -signal.SIGKILL
    async with process(home), Client.open(home) as client:
        claim = await client.tickets.claim([AGENT], key="k")
        assert claim
        assert (claim.ticket.key, claim.fence, claim.ticket.state) == ("TKT-001", 1, S.TICKET_STATE_RUNNING)
        assert claim.base


async def test_a_waiting_claim_does_not_hold_up_the_end(ready: None, home: Path) -> None:
    async with process(home) as started, Client.open(home, retries=0) as client:
        waiting = asyncio.create_task(client.tickets.claim([AGENT], tags=["none"], wait_s=60))
        await client.tickets.claim([AGENT])
        started.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await started.wait() == 0
            assert await waiting is None
