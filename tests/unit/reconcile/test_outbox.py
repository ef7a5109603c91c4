from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.domain.event import Effect
from controlplane.domain.lease import LeaseRef
from controlplane.domain.project import CompleteOn, Project
from controlplane.domain.pullrequest import PullRequest, PullRequestState
from controlplane.domain.ticket import BootTier, BootTiming, Ticket, TicketState
from controlplane.domain.transitions import REVOKE, Action, advance, answer_key
from controlplane.errors import Unavailable
from controlplane.events.bus import LocalBus
from controlplane.ports import Store, Tx
from controlplane.reconcile.outbox import AGAIN_S, AT_ONCE, Outbox
from controlplane.usecases import placement
from controlplane.usecases.moves import commit_steps
from tests.fakes.fleet import FakeFleet, FakeForge
from tests.fakes.seeds import NOW, a_project, a_pull_request, a_ticket, an_attempt

S = TicketState
HEAD = "a" * 40


class FlakyForge(FakeForge):
    """Fails so many times, each time after the work was done."""

    failures = 0

    async def publish(self, project: Project, ticket_key: str, head: str) -> None:
        await super().publish(project, ticket_key, head)
        if self.failures:
            self.failures -= 1
            raise Unavailable("the answer got lost")


@pytest.fixture
def forge() -> FlakyForge:
    return FlakyForge()


@pytest.fixture
def outbox(store: Store, bus: LocalBus, forge: FlakyForge, fleet: FakeFleet) -> Outbox:
    return Outbox(store, bus, forge, fleet)


async def finish(store: Store, number: int = 1, head: str = HEAD, **fields: Any) -> None:
    """A ticket of the project whose attempt was just accepted."""
    held = {"fence": 1, "attempts": 1, "host_id": "hs_1", "attempt_id": f"at_{number}", "project_id": "pj_1"}
    ticket = a_ticket(number, S.RUNNING, **{**held, **fields})
    attempt = an_attempt(ticket, id=ticket.attempt_id, vm_id="vm_1", boot=BootTiming(BootTier.T1))
    facts: dict[str, Any] = {"base": "b" * 40, "findings": ("weak hash",), "blocked_calls": ("pypi, `evil`",)}

    def work(tx: Tx) -> None:
        tx.add_tickets([ticket])
        tx.add_attempts([attempt])
        commit_steps(tx, [advance(ticket, Action.FINISH, NOW, head=head, template_digest="t" * 64, **facts)], NOW)

    await store.write(work)


async def look(store: Store, number: int = 1) -> tuple[Ticket, PullRequest | None]:
    (ticket,) = await store.read(lambda reader: reader.tickets_by_id([f"tk_{number}"]))
    return ticket, await store.read(lambda reader: reader.pull_request_of(ticket.id))


async def due(store: Store, now: float = NOW + 3600) -> list[str]:
    return [effect.key for effect in await store.read(lambda reader: reader.due_effects(now, 10))]


async def test_an_accepted_head_becomes_one_pull_request(store: Store, outbox: Outbox, forge: FlakyForge) -> None:
    await finish(store, title="Add a door", acceptance_criteria=("it opens",))
    assert await outbox.turn() == 1
    ticket, pull_request = await look(store)
    assert pull_request is not None
    assert (ticket.state, ticket.pull_request_id) == (S.IN_REVIEW, pull_request.id)
    assert (pull_request.number, pull_request.title, pull_request.head) == (1, "Add a door", HEAD)
    assert (pull_request.base_branch, pull_request.head_branch) == ("main", "swarm/TKT-001/pr")
    assert [call for call in forge.calls if call[0] == "publish"] == [("publish", "TKT-001", HEAD)]
    assert await due(store) == []
    assert await outbox.turn() == 0


async def test_its_text_tells_where_it_comes_from(store: Store, outbox: Outbox) -> None:
    await finish(store, description="A door.", acceptance_criteria=("it opens",))
    await outbox.turn()
    _, pull_request = await look(store)
    assert pull_request is not None
    for line in (
        "A door.",
        "- it opens",
        "- `make test` passed in the VM",
        "- push scan: `weak hash`",
        "- `pypi, 'evil'`",
        "- ticket TKT-001, fence 1, attempt 1",
        f"- agent echo 1.0.0, bundle sha256 `{'d' * 64}`",
        "- host `host-1`, isolation tcg (no security boundary)",
        "- VM `vm_1`, booted T1",
        f"- template `{'t' * 64}`",
        f"- base `{'b' * 40}`",
        f"- head `{HEAD}`",
    ):
        assert line in pull_request.body.splitlines()


async def test_a_failure_is_told_once_and_tried_again_until_it_works(
    store: Store, outbox: Outbox, forge: FlakyForge, clock: Any
) -> None:
    forge.failures = 3
    await finish(store)
    for delay in (1, 2, 4):
        await outbox.turn()
        assert await due(store, clock.now + delay - 0.5) == []
        clock.now += delay
    await outbox.turn()
    _, pull_request = await look(store)
    assert pull_request is not None
    assert pull_request.number == 1
    events = await store.read(lambda reader: reader.events("ticket:tk_1", 0, 100, ["effect.failed"]))
    assert [event.data["error"] for event in events] == ["the answer got lost"]


async def test_a_project_may_be_done_when_it_is_open(store: Store, outbox: Outbox) -> None:
    await store.write(lambda tx: tx.save_project(a_project(1, complete_on=CompleteOn.OPENED)))
    await finish(store)
    await outbox.turn()
    assert (await look(store))[0].state is S.COMPLETED


async def test_a_ticket_cancelled_in_review_gets_none(store: Store, outbox: Outbox) -> None:
    await finish(store)
    ticket, _ = await look(store)
    await store.write(lambda tx: commit_steps(tx, [advance(ticket, Action.CANCEL, NOW)], NOW))
    await outbox.turn()
    assert (await look(store))[1] is None
    assert await due(store) == []


async def test_a_ticket_cancelled_while_its_branch_is_published_gets_none(
    store: Store, bus: LocalBus, fleet: FakeFleet
) -> None:
    class CancellingForge(FakeForge):
        async def publish(self, project: Project, ticket_key: str, head: str) -> None:
            ticket, _ = await look(store)
            await store.write(lambda tx: commit_steps(tx, [advance(ticket, Action.CANCEL, NOW)], NOW))

    await finish(store)
    await Outbox(store, bus, CancellingForge(), fleet).turn()
    assert await look(store) == ((await look(store))[0], None)
    assert await due(store) == []


async def test_a_later_attempt_moves_the_same_pull_request_on(store: Store, outbox: Outbox) -> None:
    await store.write(lambda tx: tx.add_tickets([a_ticket(9, S.FAILED, project_id="pj_1")]))
    await store.write(lambda tx: tx.add_pull_request(a_pull_request(a_ticket(9), 7, state=PullRequestState.CLOSED)))
    await finish(store, 9 - 8)
    ticket = a_ticket(9, S.FAILED, project_id="pj_1")
    again = {"fence": 2, "attempt_id": "at_9", "host_id": "hs_1"}
    await store.write(lambda tx: tx.save_tickets([(ticket, a_ticket(9, S.RUNNING, project_id="pj_1", **again))]))
    running = a_ticket(9, S.RUNNING, project_id="pj_1", **again)
    step = advance(running, Action.FINISH, NOW, head="c" * 40)
    await store.write(lambda tx: commit_steps(tx, [step], NOW))
    await outbox.turn()
    _, pull_request = await look(store, 9)
    assert pull_request is not None
    assert (pull_request.number, pull_request.state, pull_request.head) == (7, PullRequestState.OPEN, "c" * 40)


@pytest.mark.parametrize(
    ("merged", "base"),
    [((), "swarm/TKT-003/base"), ((1,), "swarm/TKT-003/base"), ((1, 2), "main")],
)
async def test_it_stands_on_what_it_depends_on_until_that_is_merged(
    store: Store, outbox: Outbox, merged: tuple[int, ...], base: str
) -> None:
    for number in (1, 2):
        await store.write(lambda tx, n=number: tx.add_tickets([a_ticket(n, S.IN_REVIEW, head=f"{n}" * 40)]))  # type: ignore[misc]
        state = PullRequestState.MERGED if number in merged else PullRequestState.OPEN
        shown = a_pull_request(a_ticket(number), number + 10, state=state, head=f"{number}" * 40)
        await store.write(lambda tx, pr=shown: tx.add_pull_request(pr))  # type: ignore[misc]
    await finish(store, 3, depends_on=("tk_1", "tk_2"))
    await outbox.turn()
    _, pull_request = await look(store, 3)
    assert pull_request is not None
    assert pull_request.base_branch == base


async def test_with_one_dependency_it_stands_on_that_pull_request(store: Store, outbox: Outbox) -> None:
    await finish(store, 1)
    await finish(store, 2, "c" * 40, depends_on=("tk_1",))
    await outbox.turn()
    _, pull_request = await look(store, 2)
    assert pull_request is not None
    assert pull_request.base_branch == "swarm/TKT-001/pr"


LEASE = {"host_id": "hs_1", "attempt_id": "at_1", "ticket_id": "tk_1", "fence": 1}


async def post(store: Store, kind: str, **payload: Any) -> None:
    effect = Effect(f"{kind}:at_1", kind, {**LEASE, **payload})
    await store.write(lambda tx: tx.add_effects([effect], NOW))


async def test_a_revocation_goes_to_the_host(store: Store, outbox: Outbox, fleet: FakeFleet) -> None:
    await post(store, "revoke", reason="cancelled")
    await outbox.turn()
    assert fleet.calls == [("revoke", "hs_1", "at_1", "tk_1", 1, "cancelled")]
    assert await due(store) == []


async def test_an_answer_waits_for_its_host_and_not_for_ever(store: Store, outbox: Outbox, fleet: FakeFleet) -> None:
    waiting = a_ticket(1, S.RUNNING, fence=1, attempt_id="at_1", host_id="hs_1")
    await store.write(lambda tx: tx.add_tickets([waiting]))
    fleet.hosts.clear()
    await post(store, "answer", text="this one", number=1)
    await outbox.turn()
    assert (fleet.calls, await due(store)) == ([], ["answer:at_1"])
    await store.write(lambda tx: commit_steps(tx, [advance(waiting, Action.CANCEL, NOW)], NOW))
    await outbox.turn()
    assert "answer" not in {call[0] for call in fleet.calls}


async def test_an_answer_is_told_until_its_host_keeps_it(
    store: Store, outbox: Outbox, fleet: FakeFleet, clock: Any
) -> None:
    ref = LeaseRef("at_1", "tk_1", 1)
    await store.write(lambda tx: tx.add_tickets([a_ticket(1, S.RUNNING, fence=1, attempt_id="at_1", host_id="hs_1")]))
    await store.write(lambda tx: tx.add_attempts([an_attempt(a_ticket(1, fence=1), id="at_1")]))
    effect = Effect(answer_key("at_1", 1), "answer", {**LEASE, "text": "this one", "number": 1})
    await store.write(lambda tx: tx.add_effects([effect], NOW))
    told = ("answer", "hs_1", ref, 1, "this one")
    for turn, calls in ((0, [told]), (1, [told]), (AGAIN_S, [told, told])):
        clock.now += turn
        await outbox.turn()
        assert fleet.calls == calls
    await store.write(lambda tx: placement.hello(tx, "hs_1", [ref], clock.now, rebooted=False))
    await outbox.turn()
    assert fleet.calls == [told, told, told]
    await store.write(lambda tx: placement.answered(tx, "hs_1", ref, clock.now, 1))
    assert await due(store) == []


async def test_what_goes_to_hosts_waits_behind_no_backlog_of_pull_requests(
    store: Store, bus: LocalBus, forge: FlakyForge, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, away = 3 * AT_ONCE, asyncio.Event()
    reach = FlakyForge.publish

    async def publish(*args: Any) -> None:
        await away.wait()
        await reach(*args)

    monkeypatch.setattr(FlakyForge, "publish", publish)
    outbox = Outbox(store, bus, forge, fleet, sweep_s=3600)
    await outbox.start()
    for number in range(1, many + 1):
        await finish(store, number)
    what = {"host_id": "hs_1", "attempt_id": "at_1", "ticket_id": "tk_1", "fence": 1, "reason": "cancelled"}
    await store.write(lambda tx: tx.add_effects([Effect("revoke:at_1", REVOKE, what)], NOW))
    async with asyncio.timeout(60):
        while not fleet.calls:  # noqa: ASYNC110 - seen from outside only
            await asyncio.sleep(0.005)
        away.set()
        while await due(store):  # noqa: ASYNC110 - the outbox says nothing when it is done
            await asyncio.sleep(0.005)
    await outbox.stop()
    assert len([call for call in forge.calls if call[0] == "publish"]) == many


async def test_an_effect_of_a_newer_version_is_kept(store: Store, outbox: Outbox) -> None:
    await post(store, "teleport")
    await outbox.turn()
    assert await due(store) == ["teleport:at_1"]


async def test_the_loop_is_woken_by_a_commit(store: Store, bus: LocalBus, forge: FlakyForge, fleet: FakeFleet) -> None:
    outbox = Outbox(store, bus, forge, fleet, sweep_s=3600)
    await outbox.start()
    await asyncio.sleep(0)
    await finish(store)
    async with asyncio.timeout(60):
        while (await look(store))[1] is None:  # noqa: ASYNC110 - the outbox says nothing when it is done
            await asyncio.sleep(0.001)
    await outbox.stop()
