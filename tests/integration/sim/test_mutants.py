"""The simulation notices what it is there to notice: variants that are broken on purpose do not pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import apsw
import pytest

from controlplane.api.stages import unitofwork
from controlplane.domain import lease
from controlplane.domain.lease import TIMES, LeaseRef, LeaseTimes
from controlplane.domain.ticket import LEASED, Ticket
from controlplane.fleet.link import HostLink
from controlplane.scheduler import plan
from controlplane.stores.session import Session
from controlplane.usecases import placement
from hostd.lease import LeaseKeeper
from tests.sim import world
from tests.sim.database import Database, SimStore
from tests.sim.run import run_seed
from tests.sim.scenario import CALM, RESTORING, Faults, Scenario

Patch = Callable[[pytest.MonkeyPatch], None]

# Little is calm here: what is broken shows within a seed or two.
HOSTILE = Scenario(
    tickets=16,
    longest_s=120.0,
    lasting_s=150.0,
    settling_s=300.0,
    faults=Faults(host_death_s=30.0, freeze_s=12.0, network_s=8.0, control_death_s=15.0, lost_call=0.3),
)


def takes_stale_fences(patch: pytest.MonkeyPatch) -> None:
    def holds(ticket: Ticket | None, host_id: str, ref: LeaseRef) -> bool:
        return ticket is not None and ticket.state in LEASED

    patch.setattr(placement, "holds", holds)


def knows_no_grace(patch: pytest.MonkeyPatch) -> None:
    def over(ticket: Ticket, now: float, _: LeaseTimes = TIMES) -> bool:
        return ticket.lease_expires_at is not None and now >= ticket.lease_expires_at

    patch.setattr(lease, "over", over)
    patch.setattr("controlplane.reconcile.leases.over", over)


def forgets_the_first_ttl(patch: pytest.MonkeyPatch) -> None:
    real = lease.expired

    def expired(leased: Any, now: float, started_at: float, *rest: Any) -> list[Ticket]:
        return real(leased, now, 0.0, *rest)

    patch.setattr("controlplane.reconcile.leases.expired", expired)


def delivers_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HostLink, "_redeliver", lambda *_: None)


def does_it_again_for_each_repetition(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(unitofwork, "replayed", lambda *_: None)
    patch.setattr(unitofwork, "remember", lambda *_: None)


def overbooks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan._Planner, "limit", lambda *_: "")


def never_fences_itself(patch: pytest.MonkeyPatch) -> None:
    real = LeaseKeeper.connected
    patch.setattr(LeaseKeeper, "connected", lambda self, renew_every_s, _: real(self, renew_every_s, math.inf))


def restores_without_an_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world, "void_all", lambda *_: None)


def acknowledges_what_it_has_not_stored(patch: pytest.MonkeyPatch) -> None:
    """As a database does that promises more than its disk holds."""
    real, kept = SimStore.prepare, dict[Database, apsw.Connection]()

    def prepare(self: SimStore) -> Session:
        if self._process is not None:  # a life of the control plane, which finds what the last one found
            self._database.connection = kept.setdefault(self._database, self._database.copy())
            kept[self._database] = self._database.copy()
        return real(self)

    patch.setattr(SimStore, "prepare", prepare)


# Work lasts longer than a lease, hosts are cut off for longer than that, and others have room.
CUT_OFF = Scenario(
    tickets=6, vms=(3,), limits=(0,), longest_s=600.0, lasting_s=300.0, faults=replace(CALM, network_s=6.0)
)
# Hosts stand still, one after the other, and nothing else happens.
SILENT = replace(CUT_OFF, lasting_s=200.0, faults=replace(CALM, freeze_s=12.0))
# The only trouble is a control plane that dies, often between a lease and its delivery.
CRASHING = replace(HOSTILE, faults=replace(CALM, control_death_s=20.0))

# What it breaks shows at the restore; nothing comes to rest after it.
VOID = replace(RESTORING, settling_s=30.0)

# First those that showed most when this was last looked at; which do changes with the product.
SEEDS = (4, 5, 1, 2, 3, *range(6, 13))

# The rules of which one has to notice.
MUTANTS: dict[str, tuple[Patch, str, Scenario]] = {
    "stale fences": (takes_stale_fences, "no_zombie attempts_end", HOSTILE),
    "no grace": (knows_no_grace, "early_expiry", SILENT),
    "no first TTL": (forgets_the_first_ttl, "early_expiry", HOSTILE),
    "no redelivery": (delivers_once, "delivery", CRASHING),
    "no idempotency": (does_it_again_for_each_repetition, "answers", HOSTILE),
    "no self-fence": (never_fences_itself, "two_at_work", CUT_OFF),
    "no limits": (overbooks, "room", HOSTILE),
    "no epoch": (restores_without_an_epoch, "leases_void fences", VOID),
    "no durability": (acknowledges_what_it_has_not_stored, "acknowledged", CRASHING),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_variant_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, rules, scenario = MUTANTS[name]
    patch(monkeypatch)
    runs = (run_seed(seed, scenario).problems for seed in SEEDS)
    assert any(text.partition(":")[0] in rules.split() for problems in runs for text in problems)
