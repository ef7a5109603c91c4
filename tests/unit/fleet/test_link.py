from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from controlplane.domain.call import Call, Principal, Role
from controlplane.domain.host import HostState
from controlplane.events.bus import LocalBus
from controlplane.fleet.admission import Admitted
from controlplane.fleet.link import HostLink
from controlplane.ports import Tx
from controlplane.scheduler.applier import apply
from controlplane.scheduler.plan import Placement
from controlplane.stores.sqlite import SqliteStore
from controlplane.usecases.hosts import all_hosts
from swarm.fleet.v1 import fleet_pb2
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2
from tests.fakes.seeds import NOW, a_host, a_ticket, an_agent

ROOM = fleet_pb2.Capacity(vms=4)
CALL = Call("rq", Principal("host:host-1", Role.HOST, "default", "hs_1"), NOW)


async def test_no_host_is_attached_to_a_control_plane_that_has_just_started() -> None:
    """However many there are: a page of hosts holds 1,000."""
    store = SqliteStore(":memory:", LocalBus(), inline=True)
    await store.open()

    def join(tx: Tx) -> None:
        for number in range(1001):
            tx.save_host(a_host(number, state=HostState.ONLINE))
        tx.set_host_state("hs_0", HostState.DRAINING)

    await store.write(join)
    await HostLink(store).open()
    states = await store.read(lambda reader: {host.id: host.state for host in all_hosts(reader)})
    assert states.pop("hs_0") is HostState.DRAINING
    assert set(states.values()) == {HostState.OFFLINE}
    assert len(states) == 1000


class HastyStore(SqliteStore):
    """Somebody else has the loop between the commit of an admission and what follows from it."""

    then: asyncio.Event | None = None

    async def write(self, work: Callable[[Tx], Any]) -> Any:
        result = await super().write(work)
        if self.then is not None and isinstance(result, Admitted):
            self.then.set()
            await asyncio.sleep(0.02)
        return result


async def boots(boot_id: str) -> AsyncIterator[service_pb2.AttachRequest]:
    yield service_pb2.AttachRequest(hello=pb.Hello(name="host-1", boot_id=boot_id, capacity=ROOM))
    await asyncio.Event().wait()


async def test_a_lease_given_while_its_host_comes_back_from_a_reboot_reaches_it() -> None:
    store = HastyStore(":memory:", LocalBus(), inline=True, clock=lambda: NOW)
    await store.open()
    await store.write(lambda tx: tx.add_agent(an_agent("echo"), b""))
    await store.write(lambda tx: tx.save_host(a_host(1)))
    await store.write(lambda tx: tx.add_tickets([a_ticket(1)]))
    link = HostLink(store)
    first = link.attach(CALL, boots("before"))
    await anext(first)
    store.then = asyncio.Event()
    second = link.attach(CALL, boots("after"))
    welcome = asyncio.ensure_future(anext(second))
    await store.then.wait()
    applied = await store.write(lambda tx: apply(tx, [Placement("tk_1", "hs_1")], NOW))
    link.assign(applied.assignments)
    await welcome
    async with asyncio.timeout(60):
        told = await anext(second)
    assert [event.assignment.attempt.ticket_id for event in told.events] == ["tk_1"]
    await first.aclose()
    await second.aclose()
    await store.close()
