from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.backup.void import begin_epoch
from controlplane.domain.audit import Seals
from controlplane.domain.call import Role
from controlplane.domain.credential import OneTimeToken, Purpose
from controlplane.domain.epoch import FENCES, NUMBERS
from controlplane.domain.event import Effect, NewEvent
from controlplane.domain.login import Login, RefreshToken
from controlplane.domain.ticket import AttemptState, TicketState
from controlplane.domain.user import User
from controlplane.events.bus import LocalBus
from controlplane.ports import Reader
from controlplane.stores.sqlite import SqliteStore
from tests.fakes.seeds import NOW, a_ticket, an_attempt
from tests.fakes.units import all_of

S = TicketState
EPOCH = 7
SEALS = Seals.of(["a key that is long enough to be one"])


class Restorable:
    """A database on disk that is put back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteStore(path, LocalBus(), clock=lambda: NOW)

    async def restore(self) -> int:
        await self.store.close()
        count = begin_epoch(self.path, EPOCH, NOW, SEALS)
        self.store = SqliteStore(self.path, LocalBus(), clock=lambda: NOW)
        await self.store.open()
        return count


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Restorable]:
    made = Restorable(tmp_path / "a.db")
    await made.store.open()
    yield made
    await made.store.close()


async def test_leases_are_void_at_nobodys_cost(database: Restorable) -> None:
    held = {"host_id": "hs_1", "fence": 3, "attempts": 3, "causes": ("host_lost", "vm_lost", "timeout")}
    ended = ("host_lost", "vm_lost", "timeout", "restored")
    states = (S.ASSIGNED, S.RUNNING, S.WAITING)
    leased = [a_ticket(n, state, attempt_id=f"at_{n}", **held) for n, state in enumerate(states, 1)]
    others = [a_ticket(9, S.IN_REVIEW, fence=2, head="a" * 40), a_ticket(10, S.COMPLETED, fence=1)]
    await database.store.write(lambda tx: tx.add_tickets([*leased, *others]))
    await database.store.write(lambda tx: tx.add_attempts([an_attempt(each, id=each.attempt_id) for each in leased]))
    assert await database.restore() == 3

    def look(reader: Reader) -> None:
        for ticket in reader.tickets_by_id([each.id for each in leased]):
            assert (ticket.state, ticket.host_id, ticket.causes) == (S.READY, "", ended)
            attempt = reader.attempt(ticket.attempt_id)
            assert attempt is not None
            assert (attempt.state, attempt.cause) == (AttemptState.LOST, "restored")
        # What was accepted stays as it is: branches and effects name its fence.
        assert {each.id: each for each in reader.tickets_by_id(["tk_9", "tk_10"])} == {each.id: each for each in others}

    await database.store.read(look)


async def test_numbers_events_and_answers_begin_anew(database: Restorable) -> None:
    await database.store.write(
        all_of(
            lambda tx: tx.next_ticket_number("default", 12),
            lambda tx: tx.add_events([NewEvent("ticket:tk_1", "x", {})], NOW),
            lambda tx: tx.remember("alice", "k", "h", b"answer", NOW),
            lambda tx: tx.set_link_position("hs_1", "boot", 9),
        )
    )
    await database.restore()
    await database.store.write(lambda tx: tx.add_events([NewEvent("ticket:tk_1", "y", {})], NOW))
    events = await database.store.read(lambda reader: reader.events("ticket:tk_1", 0, 10))
    assert [event.seq for event in events] == [1, EPOCH * FENCES + 1]
    assert await database.store.read(lambda reader: reader.replay("alice", "k")) is None
    # A host that goes on with its old numbers is heard from any number on.
    assert await database.store.read(lambda reader: reader.link_position("hs_1", "boot")) == 0
    assert await database.store.write(lambda tx: tx.next_ticket_number("default", 1)) == EPOCH * NUMBERS + 1
    # So does a tenant of which the backup knew nothing.
    assert await database.store.write(lambda tx: tx.next_ticket_number("newcomer", 2)) == EPOCH * NUMBERS + 1
    assert await database.store.write(lambda tx: tx.next_ticket_number("newcomer", 1)) == EPOCH * NUMBERS + 3


async def test_effects_for_hosts_are_dropped_and_pull_requests_are_not(database: Restorable) -> None:
    effects = [Effect(kind, kind, {}) for kind in ("revoke", "answer", "open_pull_request")]
    await database.store.write(lambda tx: tx.add_effects(effects, NOW))
    await database.restore()
    due = await database.store.read(lambda reader: reader.due_effects(NOW, 10))
    assert [effect.kind for effect in due] == ["open_pull_request"]


async def test_whoever_was_logged_in_is_not_any_more_and_keeps_the_account(database: Restorable) -> None:
    ann = User("us_1", "default", "ann@example.org", "Ann", Role.ADMIN, NOW, "hash", None, "sealed", 7, NOW)
    await database.store.write(
        all_of(
            lambda tx: tx.add_user(ann),
            lambda tx: tx.add_login(Login("lg_1", ann.id, "default", "password", "", "", NOW, NOW, NOW + 99)),
            lambda tx: tx.add_refresh_token(RefreshToken("r", "lg_1", NOW)),
            lambda tx: tx.add_one_time_token(OneTimeToken("d", Purpose.RESET, ann.id, NOW + 99)),
        )
    )
    await database.restore()
    assert await database.store.read(lambda reader: reader.user(ann.id)) == ann
    assert await database.store.read(lambda reader: reader.login("lg_1")) is None
    assert await database.store.read(lambda reader: reader.refresh_token("r")) is None
    assert await database.store.read(lambda reader: reader.one_time_token(Purpose.RESET, "d", NOW)) is None
    # Access tokens are in no table: those from before the restore are void by their time.
    assert (await database.store.read(lambda reader: reader.standing(NOW))).not_before == NOW
