from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controlplane.domain.ticket import Ticket, TicketState
from controlplane.domain.transitions import TICKETS_TOPIC, Action, advance
from controlplane.events.bus import LocalBus
from controlplane.ports import Moved
from controlplane.scheduler.feed import ALL_HOSTS, Feed
from controlplane.stores.sqlite import SqliteStore
from controlplane.usecases.moves import commit_steps
from tests.fakes.seeds import NOW, a_host, a_ticket, an_agent


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    made = SqliteStore(":memory:", LocalBus(), inline=True, clock=lambda: NOW)
    await made.open()
    await made.write(lambda tx: tx.add_agent(an_agent("echo"), b""))
    yield made
    await made.close()


@pytest.fixture
async def feed(store: SqliteStore) -> Feed:
    made = Feed(store)
    await made.load()
    return made


async def release(store: SqliteStore, number: int) -> Ticket:
    held = a_ticket(number, TicketState.PENDING)
    await store.write(lambda tx: tx.add_tickets([held]))
    steps = await store.write(lambda tx: commit_steps(tx, [advance(held, Action.RELEASE, NOW)], NOW))
    return steps[0].ticket


async def test_what_was_heard_is_not_read_again(
    store: SqliteStore, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.watch(feed.hear)
    await release(store, 1)
    monkeypatch.setattr(store, "read", None)
    await feed.catch_up({TICKETS_TOPIC})
    assert feed.snapshot.queue_depth == 1


async def test_what_was_missed_is_read_from_the_table(store: SqliteStore, feed: Feed) -> None:
    await release(store, 1)  # nobody listens yet
    store.watch(feed.hear)
    await release(store, 2)
    await feed.catch_up({TICKETS_TOPIC})
    assert feed.snapshot.queue_depth == 2


async def test_news_that_is_older_than_what_was_read_changes_nothing(store: SqliteStore, feed: Feed) -> None:
    ticket = await release(store, 1)
    await feed.catch_up({TICKETS_TOPIC})
    gone = advance(ticket, Action.CANCEL, NOW)
    await store.write(lambda tx: commit_steps(tx, [gone], NOW))
    await feed.catch_up({TICKETS_TOPIC})
    feed.hear(Moved(0, 1, (ticket,)))
    await feed.catch_up({TICKETS_TOPIC})
    assert feed.snapshot.queue_depth == 0


async def test_news_of_a_host_reads_that_host_alone(store: SqliteStore, feed: Feed) -> None:
    await store.write(lambda tx: tx.save_host(a_host(1)))
    await store.write(lambda tx: tx.save_host(a_host(2)))
    await feed.catch_up({"host:hs_2"})
    assert set(feed.snapshot.hosts) == {"hs_2"}
    await feed.catch_up({ALL_HOSTS})
    assert set(feed.snapshot.hosts) == {"hs_1", "hs_2"}
