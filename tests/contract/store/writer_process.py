"""Writes to a store as fast as it can and prints each number once it is acknowledged, until it is killed."""

from __future__ import annotations

import asyncio
import itertools
import sys
from functools import partial

from controlplane.domain.event import NewEvent
from controlplane.events.bus import LocalBus
from controlplane.ports import Tx
from controlplane.stores.sqlite import SqliteStore
from tests.fakes.seeds import NOW, a_ticket

numbers = itertools.count(1)


def add(tx: Tx, number: int) -> None:
    tx.add_tickets([a_ticket(number)])
    tx.add_events([NewEvent("all", "filed", {"number": number})], NOW)


async def write(store: SqliteStore) -> None:
    for number in numbers:
        await store.write(partial(add, number=number))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


async def main() -> None:
    store = SqliteStore(sys.argv[1], LocalBus())
    await store.open()
    await asyncio.gather(*(write(store) for _ in range(16)))


asyncio.run(main())
