"""I7: a crash between the commit and the forge, or between the forge and the mark, many times: one pull request."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from controlplane import failpoint
from controlplane.domain.project import Project, ProjectSpec
from controlplane.domain.ticket import TicketState
from controlplane.domain.transitions import Action, advance
from controlplane.events.bus import LocalBus
from controlplane.forge.local import LocalForge
from controlplane.forge.mirror import Mirrors
from controlplane.ports import Store, Tx
from controlplane.reconcile.outbox import Outbox
from controlplane.stores.sqlite import SqliteStore
from controlplane.usecases.moves import commit_steps
from tests.e2e.harness.upstream import Upstream
from tests.extent import either, seed
from tests.fakes.fleet import FakeFleet
from tests.fakes.seeds import NOW, TENANT, a_ticket, an_agent, an_attempt

log = logging.getLogger(__name__)

TICKETS = either(4, 40)
MOST_CRASHES = either(3, 6)
POINTS = ("effect_before_forge", "published_before_recorded", "store_before_commit", "store_after_commit")


@pytest.fixture
def state(home: Path) -> Path:
    home.mkdir()
    return home


async def opened(path: Path) -> SqliteStore:
    """A later start each time, so that what waits for another try is due."""
    opened.starts += 1  # type: ignore[attr-defined]
    starts = opened.starts  # type: ignore[attr-defined]
    store = SqliteStore(path, LocalBus(), clock=lambda: NOW + 3600 * starts)
    await store.open()
    return store


opened.starts = 0  # type: ignore[attr-defined]


def accepted(tx: Tx, number: int, upstream: Upstream) -> None:
    """A ticket whose attempt has just ended well, its branch pushed."""
    base = upstream.git("rev-parse", "main")
    head = upstream.git("commit-tree", f"{base}^{{tree}}", "-p", base, "-m", f"work {number}")
    upstream.git("update-ref", f"refs/heads/swarm/TKT-{number:03d}/a1", head)
    held = {"fence": 1, "attempts": 1, "host_id": "hs_1", "attempt_id": f"at_{number}", "project_id": "pj_1"}
    ticket = a_ticket(number, TicketState.RUNNING, **held)
    tx.add_tickets([ticket])
    tx.add_attempts([an_attempt(ticket, id=ticket.attempt_id)])
    commit_steps(tx, [advance(ticket, Action.FINISH, NOW, head=head, base=base)], NOW)


async def turn(path: Path, forge: LocalForge, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One life of a control plane, which ends at the point."""
    store = await opened(path)
    monkeypatch.setattr(failpoint, "_armed", {point: "error"} if point else {})
    await Outbox(store, LocalBus(), forge, FakeFleet()).turn()
    monkeypatch.setattr(failpoint, "_armed", {})
    await store.close()


async def test_many_crashes_leave_one_pull_request_each(
    home: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = seed()
    log.warning("SWARM_SEED=%d does it again", chosen)
    chance = random.Random(chosen)
    upstream = Upstream.create(home.parent / "up.git", {"a.txt": "one\n"})
    path, forge = state / "a.db", LocalForge(Mirrors(state / "git"))
    store = await opened(path)
    project = Project("pj_1", TENANT, ProjectSpec("demo", repository=str(upstream.path)), NOW)
    await store.write(lambda tx: tx.add_project(project))
    await store.write(lambda tx: tx.add_agent(an_agent("echo"), b""))
    for number in range(1, TICKETS + 1):
        await store.write(lambda tx, number=number: accepted(tx, number, upstream))  # type: ignore[misc]
    await store.close()
    for _ in range(MOST_CRASHES):
        await turn(path, forge, chance.choice(POINTS), monkeypatch)
    await turn(path, forge, "", monkeypatch)
    await check(await opened(path), upstream)


async def check(store: Store, upstream: Upstream) -> None:
    for number in range(1, TICKETS + 1):
        (ticket,) = await store.read(lambda reader, number=number: reader.tickets_by_id([f"tk_{number}"]))  # type: ignore[misc]
        shown = await store.read(lambda reader, number=number: reader.pull_request_of(f"tk_{number}"))  # type: ignore[misc]
        assert shown is not None
        assert (ticket.pull_request_id, ticket.head) == (shown.id, shown.head)
        assert upstream.branches()[f"swarm/{ticket.key}/pr"] == shown.head
    assert len([name for name in upstream.branches() if name.endswith("/pr")]) == TICKETS
    assert await store.read(lambda reader: reader.due_effects(NOW * 2, 10)) == []
    await store.close()
