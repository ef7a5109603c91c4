from __future__ import annotations

from controlplane.domain.host import HostState
from controlplane.events.bus import LocalBus
from controlplane.fleet.link import HostLink
from controlplane.ports import Tx
from controlplane.stores.sqlite import SqliteStore
from controlplane.usecases.hosts import all_hosts
from tests.fakes.seeds import a_host


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
