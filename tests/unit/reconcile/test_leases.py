from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.host import HostState
from controlplane.domain.lease import TIMES
from controlplane.domain.ticket import AttemptState, TicketState
from controlplane.ports import Store
from controlplane.reconcile.leases import LeaseKeeper
from tests.fakes.fleet import FakeFleet
from tests.fakes.seeds import NOW, a_host, a_ticket, an_attempt

S = TicketState


async def lease(store: Store, number: int, host: str = "hs_1") -> None:
    held: dict[str, Any] = {"fence": 1, "attempts": 1, "attempt_id": f"at_{number}", "host_id": host}
    held["lease_expires_at"] = NOW + TIMES.ttl_s
    ticket = a_ticket(number, S.RUNNING, **held)
    await store.write(lambda tx: tx.add_tickets([ticket]))
    await store.write(lambda tx: tx.add_attempts([an_attempt(ticket, id=f"at_{number}", host_id=host)]))


async def state(store: Store, number: int = 1) -> TicketState:
    return (await store.read(lambda reader: reader.tickets_by_id([f"tk_{number}"])))[0].state


@pytest.fixture
def keeper(store: Store, fleet: FakeFleet) -> LeaseKeeper:
    return LeaseKeeper(store, fleet)


async def test_a_host_that_stopped_renewing_loses_its_ticket(store: Store, keeper: LeaseKeeper, clock: Any) -> None:
    await lease(store, 1)
    clock.now = NOW + TIMES.ttl_s + TIMES.grace_s - 0.001
    assert await keeper.turn() == 0
    clock.now = NOW + TIMES.ttl_s + TIMES.grace_s
    assert await keeper.turn() == 1
    (ticket,) = await store.read(lambda reader: reader.tickets_by_id(["tk_1"]))
    attempt = await store.read(lambda reader: reader.attempt("at_1"))
    assert attempt is not None
    assert (ticket.state, ticket.causes, ticket.fence) == (S.READY, ("host_lost",), 1)
    assert (attempt.state, attempt.cause, attempt.finished_at) == (AttemptState.LOST, "host_lost", clock.now)
    assert await keeper.turn() == 0


async def test_after_a_start_of_ours_hosts_get_one_ttl(store: Store, fleet: FakeFleet, clock: Any) -> None:
    await lease(store, 1)
    clock.now = NOW + 3600
    keeper = LeaseKeeper(store, fleet)
    assert await keeper.turn() == 0
    clock.now += TIMES.ttl_s
    assert await keeper.turn() == 1


async def test_after_we_stood_still_ourselves_hosts_get_one_ttl(store: Store, fleet: FakeFleet, clock: Any) -> None:
    await lease(store, 1)
    keeper = LeaseKeeper(store, fleet)
    looked = clock.now
    clock.now += TIMES.grace_s
    assert keeper._note_standstill(looked) == clock.now
    clock.now = looked + TIMES.ttl_s + TIMES.grace_s
    keeper._note_standstill(looked)
    assert await keeper.turn() == 0
    clock.now += TIMES.ttl_s
    keeper._note_standstill(clock.now)
    assert await keeper.turn() == 1


async def test_when_half_of_the_hosts_vanish_together_nothing_expires_at_once(
    store: Store, fleet: FakeFleet, keeper: LeaseKeeper, clock: Any
) -> None:
    for number in range(1, 5):
        host = a_host(number, state=HostState.ONLINE, last_seen_at=NOW)
        await store.write(lambda tx, host=host: tx.save_host(host))  # type: ignore[misc]
        await lease(store, number, f"hs_{number}")
    fleet.hosts = {"hs_1", "hs_2"}
    clock.now = NOW + TIMES.ttl_s + TIMES.grace_s
    for number in (1, 2):
        ticket = (await store.read(lambda reader, n=number: reader.tickets_by_id([f"tk_{n}"])))[0]  # type: ignore[misc]
        renewed = a_ticket(
            number,
            S.RUNNING,
            fence=1,
            attempts=1,
            attempt_id=f"at_{number}",
            host_id=f"hs_{number}",
            lease_expires_at=clock.now + TIMES.ttl_s,
        )
        await store.write(lambda tx, old=ticket, new=renewed: tx.save_tickets([(old, new)]))  # type: ignore[misc]
    assert keeper.alerts() == ()
    assert await keeper.turn() == 0
    (alert,) = keeper.alerts()
    assert alert.startswith("2 of 4 hosts are gone together: no lease expires")
    fleet.hosts = {"hs_1", "hs_2", "hs_3"}
    assert await keeper.turn() == 0  # attached again, but it has renewed nothing yet
    clock.now = NOW + TIMES.ttl_s + 600
    await keeper.turn()
    assert [await state(store, number) for number in (3, 4)] == [S.READY, S.READY]
    assert keeper.alerts() == ()
    told = await store.read(lambda reader: reader.events("coordinator", 0, 9))
    assert [(event.type, event.data["silent"]) for event in told] == [("leases.braked", 2), ("leases.released", 0)]
