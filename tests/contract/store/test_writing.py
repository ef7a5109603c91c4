from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from controlplane.domain.event import Event, NewEvent
from controlplane.errors import NotFound, SwarmError, Unavailable
from controlplane.events.bus import LocalBus
from controlplane.ports import Reader, Store, Tx
from tests.fakes.seeds import NOW, TENANT, a_host, a_ticket
from tests.fakes.units import all_of


def event(topic: str, number: int = 0) -> NewEvent:
    return NewEvent(topic, "test", {"number": number})


async def numbers(store: Store, topic: str) -> list[int]:
    return [one.seq for one in await store.read(lambda reader: reader.events(topic, 0, 1000))]


async def test_a_unit_that_raises_leaves_nothing_and_fails_alone(store: Store) -> None:
    def work(tx: Tx, number: int) -> int:
        tx.add_tickets([a_ticket(number)])
        tx.add_events([event("all", number)], NOW)
        if number % 3 == 0:
            raise NotFound(f"number {number}")
        return number

    answers = await asyncio.gather(
        *(store.write(partial(work, number=number)) for number in range(60)), return_exceptions=True
    )
    assert [isinstance(one, NotFound) for one in answers] == [number % 3 == 0 for number in range(60)]
    found = await store.read(lambda reader: reader.events("all", 0, 100))
    assert [one.data["number"] for one in found] == [number for number in range(60) if number % 3]
    assert [one.seq for one in found] == list(range(1, 41))
    kept = await store.read(lambda reader: reader.live_tickets())
    assert len(kept) == 40


async def test_a_unit_sees_what_it_wrote_and_readers_do_not_until_the_end(store: Store) -> None:
    def work(tx: Tx) -> bool:
        tx.add_tickets([a_ticket(1)])
        return tx.ticket(TENANT, "TKT-001") is not None

    before = await store.read(lambda reader: reader.ticket(TENANT, "TKT-001"))
    assert await store.write(work)
    after = await store.read(lambda reader: reader.ticket(TENANT, "TKT-001"))
    assert (before, after) == (None, a_ticket(1))


async def test_an_event_of_two_topics_has_a_number_in_each(store: Store) -> None:
    both = NewEvent("one", "test", {"number": 1}, also="all")
    await store.write(lambda tx: tx.add_events([event("all"), both, both], NOW))
    found = await store.read(lambda reader: (reader.events("one", 0, 10), reader.events("all", 0, 10)))
    assert [[one.seq for one in topic] for topic in found] == [[1, 2], [1, 2, 3]]
    assert {(one.type, one.data["number"]) for one in (*found[0], *found[1][1:])} == {("test", 1)}


async def test_events_are_gapless_per_topic_under_concurrency(store: Store) -> None:
    async def one(number: int) -> None:
        topic = f"topic-{number % 3}"
        await store.write(lambda tx: tx.add_events([event(topic, number), event("all", number), event(topic)], NOW))

    await asyncio.gather(*map(one, range(90)))
    for topic, count in (("topic-0", 60), ("topic-1", 60), ("topic-2", 60), ("all", 90)):
        assert await numbers(store, topic) == list(range(1, count + 1))


async def test_events_are_read_from_a_cursor_and_from_the_end(store: Store) -> None:
    await store.write(
        lambda tx: tx.add_events([NewEvent("a", "odd" if n % 2 else "even", {"n": n}) for n in range(1, 11)], NOW)
    )
    cases: list[tuple[Callable[[Reader], list[Event]], list[int]]] = [
        (lambda reader: reader.events("a", 7, 100), [8, 9, 10]),
        (lambda reader: reader.events("a", 0, 2), [1, 2]),
        (lambda reader: reader.events("a", 4, 2, ["odd"]), [5, 7]),
        (lambda reader: reader.tail("a", 3), [8, 9, 10]),
        (lambda reader: reader.tail("a", 2, ["even"]), [8, 10]),
        (lambda reader: reader.events("b", 0, 10), []),
    ]
    for query, numbers in cases:
        assert [one.data["n"] for one in await store.read(query)] == numbers


async def test_the_bus_hears_of_commits_only(store: Store, bus: LocalBus) -> None:
    changes = bus.subscribe("ticket:*", "host:*", "settings", "outbox")

    def fails(tx: Tx) -> None:
        tx.add_events([event("ticket:lost")], NOW)
        raise NotFound("no")

    with pytest.raises(NotFound):
        await store.write(fails)
    await store.write(lambda tx: tx.add_events([event("ticket:tk_1"), event("unheard")], NOW))
    assert await anext(changes) == {"ticket:tk_1"}
    await store.write(all_of(lambda tx: tx.save_host(a_host()), lambda tx: tx.set_setting("a", 1)))
    assert await anext(changes) == {"host:hs_1", "settings"}


async def test_a_cancelled_caller_harms_nobody(store: Store) -> None:
    def add(tx: Tx, number: int) -> None:
        tx.add_events([event("all", number)], NOW)

    tasks = [asyncio.create_task(store.write(partial(add, number=number))) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    found = await store.read(lambda reader: reader.events("all", 0, 100))
    assert {one.data["number"] for one in found} >= set(range(1, 20, 2))
    assert [one.seq for one in found] == list(range(1, len(found) + 1))


async def test_a_closed_store_says_so(store: Store) -> None:
    await store.close()
    with pytest.raises(Unavailable):
        await store.read(lambda reader: reader.agents(None))
    with pytest.raises(Unavailable):
        await store.write(lambda tx: tx.set_setting("a", 1))


async def test_what_was_handed_in_is_committed_before_the_close(store: Store) -> None:
    writes = [asyncio.create_task(store.write(lambda tx: tx.add_events([event("all")], NOW))) for _ in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*writes) == [None] * 20


async def test_a_broken_constraint_is_a_lost_race(store: Store) -> None:
    await store.write(lambda tx: tx.add_tickets([a_ticket(1)]))
    with pytest.raises(SwarmError) as error:
        await store.write(lambda tx: tx.add_tickets([a_ticket(1)]))
    assert error.value.code == "ABORTED"
