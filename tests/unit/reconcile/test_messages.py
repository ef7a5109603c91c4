"""What is told to people outside: again while it may arrive, not for ever, and never lost between two steps."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from controlplane import failpoint
from controlplane.domain.call import Role
from controlplane.domain.notification import MAIL, SLACK, Channel, Kind, Preferences
from controlplane.domain.ticket import TicketState
from controlplane.domain.transitions import Action, advance
from controlplane.domain.user import User
from controlplane.errors import FailedPrecondition, RateLimited, Unavailable
from controlplane.events.bus import LocalBus
from controlplane.ports import Store, Tx
from controlplane.reconcile.messages import MailNotices
from controlplane.reconcile.outbox import MAX_DELAY_S, MOST_TRIES, Outbox, Sender
from controlplane.usecases.moves import commit_steps
from tests.fakes.fleet import FakeFleet, FakeForge
from tests.fakes.seeds import NOW, a_ticket, an_attempt
from tests.fakes.units import all_of

ANN = User("us_1", "default", "ann@example.org", "Ann", Role.DEVELOPER, NOW)
HELD = {"fence": 1, "attempts": 1, "host_id": "hs_1", "attempt_id": "at_1"}
BOTH = frozenset({Channel.EMAIL, Channel.SLACK, Channel.BROWSER})


class Post:
    """Takes every mail, or fails as it is told to."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.sent: list[tuple[str, str, str]] = []  # recipient, subject, ident

    async def send(self, recipient: str, subject: str, _text: str, *, ident: str = "") -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.sent.append((recipient, subject, ident))


def outbox(store: Store, post: Post, **others: Sender) -> Outbox:
    senders: Mapping[str, Sender] = {MAIL: MailNotices(post, "https://swarm.example.org"), **others}
    return Outbox(store, LocalBus(), FakeForge(), FakeFleet(), senders=senders)


def ask(tx: Tx) -> None:
    """A ticket of Ann's asks something."""
    ticket = a_ticket(1, TicketState.RUNNING, title="Paint it", **HELD)
    tx.add_tickets([ticket])
    tx.add_attempts([an_attempt(ticket, id="at_1")])
    commit_steps(tx, [advance(ticket, Action.ASK, NOW, question="Blue?")], NOW)


@pytest.fixture
async def told(store: Store) -> Store:
    """One that holds a message to Ann which nobody has sent."""

    def work(tx: Tx) -> None:
        tx.add_user(ANN)
        tx.save_preferences(ANN.id, Preferences({Kind.QUESTION_ASKED: frozenset({Channel.EMAIL})}))
        ask(tx)

    await store.write(work)
    return store


async def due(store: Store, now: float = NOW * 2) -> list[str]:
    return [effect.kind for effect in await store.read(lambda reader: reader.due_effects(now, 10))]


async def test_a_message_that_nobody_takes_is_given_up_after_ten_tries(
    told: Store, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    post = Post(*(Unavailable("the server is away") for _ in range(20)))
    sending, delays = outbox(told, post), []
    with caplog.at_level(logging.WARNING):
        for _ in range(MOST_TRIES[MAIL] - 1):
            assert await sending.turn() == 1
            before = clock.now
            while not await due(told, clock.now):
                clock.now += 0.5
            delays.append(clock.now - before)
        assert await sending.turn() == 1
    assert delays == [min(2.0**each, MAX_DELAY_S) for each in range(9)]
    assert (await due(told), len(post.faults)) == ([], 10)
    assert "is given up after 10 tries: the server is away" in caplog.text
    assert await sending.turn() == 0


async def test_who_says_when_to_come_again_is_not_asked_before(told: Store, clock: Any) -> None:
    post = Post(RateLimited("slowly", retry_after_s=20))
    sending = outbox(told, post)
    await sending.turn()
    clock.now += 19
    assert await sending.turn() == 0
    clock.now += 1
    assert await sending.turn() == 1
    assert [recipient for recipient, _, _ in post.sent] == [ANN.email]


async def test_what_is_refused_for_good_is_tried_once(told: Store) -> None:
    post = Post(FailedPrecondition("no such mailbox"))
    await outbox(told, post).turn()
    assert (await due(told), post.sent) == ([], [])


async def test_a_crash_before_the_commit_tells_nobody_of_what_did_not_happen(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere = Preferences({Kind.QUESTION_ASKED: BOTH})
    await store.write(all_of(lambda tx: tx.add_user(ANN), lambda tx: tx.save_preferences(ANN.id, everywhere)))
    monkeypatch.setattr(failpoint, "_armed", {"store_before_commit": "error"})
    with pytest.raises(Unavailable):
        await store.write(ask)
    monkeypatch.setattr(failpoint, "_armed", {})
    assert (await due(store), await store.read(lambda reader: reader.unread(ANN.id))) == ([], 0)
    await store.write(ask)
    assert (sorted(await due(store)), await store.read(lambda r: r.unread(ANN.id))) == (sorted([MAIL, SLACK]), 1)


async def test_a_crash_between_the_message_and_its_mark_sends_the_same_one_again(
    told: Store, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same ident, by which a mail program shows both as one."""
    post = Post()
    monkeypatch.setattr(failpoint, "_armed", {"store_before_commit": "error"})
    await outbox(told, post).turn()
    monkeypatch.setattr(failpoint, "_armed", {})
    assert len(post.sent) == 1
    clock.now += 3600
    later = outbox(told, post)  # of the next process
    assert [await later.turn(), await later.turn()] == [1, 0]
    assert post.sent[0] == post.sent[1]
    assert await due(told) == []


async def test_who_was_shut_out_meanwhile_gets_nothing(told: Store) -> None:
    post = Post()
    await told.write(lambda tx: tx.save_user(replace(ANN, disabled_at=NOW)))
    await outbox(told, post).turn()
    assert (post.sent, await due(told)) == ([], [])
