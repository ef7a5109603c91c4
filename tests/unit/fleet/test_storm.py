"""Every host comes back at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from controlplane.domain.call import Call, Principal, Role
from controlplane.domain.lease import LeaseTimes
from controlplane.events.bus import LocalBus
from controlplane.fleet.admission import reconnect_within_s
from controlplane.fleet.link import HostLink
from controlplane.ports import Tx
from controlplane.stores.sqlite import SqliteStore
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2
from tests.fakes.seeds import NOW

HOSTS = 1000


class SlowStore(SqliteStore):
    """Counts how many writes wait for it at once."""

    waiting = 0
    most = 0

    async def write(self, work: Callable[[Tx], Any]) -> Any:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0)
        try:
            return await super().write(work)
        finally:
            self.waiting -= 1


async def hello(number: int, over: asyncio.Event) -> AsyncIterator[service_pb2.AttachRequest]:
    yield service_pb2.AttachRequest(hello=pb.Hello(name=f"host-{number}", boot_id="boot"))
    await over.wait()


async def test_hellos_wait_at_the_door_and_each_is_answered() -> None:
    store = SlowStore(":memory:", LocalBus(), inline=True, clock=lambda: NOW)
    await store.open()
    link, over, welcomes = HostLink(store), asyncio.Event(), list[pb.Welcome]()
    all_in = asyncio.Barrier(HOSTS + 1)

    async def attach(number: int) -> None:
        call = Call("rq", Principal(f"host:host-{number}", Role.HOST, "default", f"hs_{number}"), NOW)
        stream = link.attach(call, hello(number, over))
        welcomes.append((await anext(stream)).welcome)
        await all_in.wait()
        await over.wait()
        await stream.aclose()

    async with asyncio.TaskGroup() as tasks:
        for number in range(HOSTS):
            tasks.create_task(attach(number))
        await all_in.wait()
        assert len(link.connected()) == HOSTS
        assert store.most <= 32
        store.most = 0
        over.set()
    # The longer the queue, the more time the next return is spread over.
    assert max(welcome.reconnect_within_ms for welcome in welcomes) == 5000
    await store.close()


def test_a_return_is_over_before_a_lease_is_in_danger() -> None:
    short = LeaseTimes(9)
    assert reconnect_within_s(10, short) < reconnect_within_s(100, short) <= short.renew_every_s
    assert reconnect_within_s(100_000, short) == short.renew_every_s
