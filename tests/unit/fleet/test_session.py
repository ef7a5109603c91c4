from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from controlplane.domain.lease import LeaseTimes
from controlplane.errors import Unavailable
from controlplane.events.bus import LocalBus
from controlplane.fleet.outbound import Outbound
from controlplane.fleet.peer import Peer
from controlplane.fleet.session import Session
from controlplane.stores.sqlite import SqliteStore
from swarm.hostlink.v1 import hostlink_pb2 as pb
from swarm.hostlink.v1 import service_pb2


async def silence() -> AsyncIterator[service_pb2.AttachRequest]:
    await asyncio.Event().wait()
    yield service_pb2.AttachRequest()


async def test_a_host_that_says_nothing_for_a_ttl_is_no_longer_attached() -> None:
    """Its connection may stay open for hours after its machine lost power, and would be given work all the time."""
    peer = Peer("hs_1", "one", "boot", Outbound(0))
    store = SqliteStore(":memory:", LocalBus(), inline=True)
    session = Session(store, peer, pb.Welcome(), lambda *_: None, LeaseTimes(0.01))
    answers = session.run(silence())
    assert (await anext(answers)).HasField("welcome")
    with pytest.raises(Unavailable, match="nothing came"):
        await anext(answers)
