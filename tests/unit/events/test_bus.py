from __future__ import annotations

import asyncio

import pytest

from controlplane.events.bus import MAX_PENDING, LocalBus


async def test_changes_before_the_first_turn_are_seen_once() -> None:
    bus = LocalBus()
    changes = bus.subscribe("hosts", "ticket:*")
    bus.notify(["hosts", "ticket:a", "vms"])
    bus.notify(["hosts", "ticketless"])
    assert await anext(changes) == {"hosts", "ticket:a"}
    waiting = asyncio.ensure_future(anext(changes))
    bus.notify(["vms"])
    await asyncio.sleep(0)
    assert not waiting.done()
    bus.notify(["ticket:b"])
    assert await waiting == {"ticket:b"}


async def test_a_subscriber_far_behind_holds_little_and_is_told_that_anything_changed() -> None:
    bus = LocalBus()
    changes = bus.subscribe("hosts", "ticket:*")
    bus.notify([f"ticket:{number}" for number in range(MAX_PENDING * 3)])
    assert await anext(changes) == {"hosts", "ticket:*"}


async def test_closing_ends_a_waiting_iterator() -> None:
    bus = LocalBus()
    changes = bus.subscribe("hosts")
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    await changes.aclose()
    with pytest.raises(StopAsyncIteration):
        await waiting
    bus.notify(["hosts"])


async def test_a_dropped_subscription_is_forgotten() -> None:
    bus = LocalBus()
    changes = bus.subscribe("hosts")
    assert len(bus._subscribers) == 1
    del changes
    assert len(bus._subscribers) == 0
