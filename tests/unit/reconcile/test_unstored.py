"""While renewals are answered without being stored, and for one TTL afterwards, no lease expires."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from controlplane.domain.lease import TIMES, LeaseRef
from controlplane.domain.ticket import TicketState
from controlplane.errors import DiskFull
from controlplane.events.bus import LocalBus
from controlplane.ports import Store
from controlplane.reconcile.leases import LeaseKeeper
from controlplane.scheduler.loop import Scheduler
from controlplane.space import DiskSpace
from controlplane.usecases.placement import confirm
from tests.fakes.fleet import FakeFleet
from tests.fakes.seeds import NOW, a_ticket, an_attempt

HELD: Mapping[str, Any] = {"fence": 1, "attempts": 1, "host_id": "hs_1", "attempt_id": "at_1"}


async def lease(store: Store) -> None:
    ticket = a_ticket(1, TicketState.RUNNING, lease_expires_at=NOW + TIMES.ttl_s, **HELD)
    await store.write(lambda tx: tx.add_tickets([ticket]))
    await store.write(lambda tx: tx.add_attempts([an_attempt(ticket, id="at_1")]))


async def test_a_lease_that_could_not_be_stored_does_not_expire(store: Store, fleet: FakeFleet, clock: Any) -> None:
    await lease(store)
    full_at = -math.inf
    keeper = LeaseKeeper(store, fleet, unstored_at=lambda: full_at)
    clock.now = full_at = NOW + 600
    assert await keeper.turn() == 0
    clock.now += TIMES.ttl_s - 0.001
    assert await keeper.turn() == 0
    clock.now += 0.001
    assert await keeper.turn() == 1


async def test_a_renewal_is_confirmed_by_what_is_stored(store: Store) -> None:
    await lease(store)
    mine, stale = LeaseRef("at_1", "tk_1", 1), LeaseRef("at_0", "tk_1", 0)
    before = await store.read(lambda reader: reader.tickets_by_id(["tk_1"]))
    answer = await store.read(lambda reader: confirm(reader, "hs_1", [mine, stale, mine]))
    assert (answer.renewed, answer.stale) == ((mine,), (stale,))
    assert (await store.read(lambda reader: confirm(reader, "hs_2", [mine]))).stale == (mine,)
    assert await store.read(lambda reader: reader.tickets_by_id(["tk_1"])) == before


class Usage(NamedTuple):
    f_bavail: int
    f_frsize: int = 1


async def test_new_work_waits_until_there_is_space(
    store: Store, bus: LocalBus, fleet: FakeFleet, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 99
    monkeypatch.setattr(os, "statvfs", lambda _: Usage(free))
    disk = DiskSpace(tmp_path, bus, min_free_bytes=100)
    scheduler = Scheduler(store, bus, fleet, hold=lambda: disk.refusal)
    await store.write(lambda tx: tx.add_tickets([a_ticket(1)]))
    changes = bus.subscribe("settings")
    disk.look()
    with pytest.raises(DiskFull) as refused:
        disk.check()
    assert (refused.value.code, refused.value.reason) == ("RESOURCE_EXHAUSTED", "disk_full")
    assert await scheduler.turn() == 0
    free = 100
    disk.look()
    disk.check()
    assert await anext(changes) == {"settings"}, "nobody wakes the scheduler"
    assert await scheduler.turn() == 1
