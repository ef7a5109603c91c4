"""Rooms under the worst of timing: what is told is what is stored, once each and in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar, cast

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from controlplane.domain.event import Event
from controlplane.events.bus import LocalBus
from controlplane.gateway.hub import Hub
from controlplane.gateway.rooms import TopicSource
from controlplane.ports import Store

T = TypeVar("T")
TOPIC = "ticket:tk_1"


class Events:
    """A store that takes its time, and counts how often it is asked."""

    def __init__(self, chance: random.Random) -> None:
        self.found: list[Event] = []
        self.reads = 0
        self.longest = 4  # turns of the loop that a read takes, before it looks and after
        self._chance = chance

    async def read(self, query: Callable[[Any], T]) -> T:
        self.reads += 1
        await self._pause()
        result = query(self)
        await self._pause()
        return result

    async def _pause(self) -> None:
        for _ in range(self._chance.randrange(self.longest)):
            await asyncio.sleep(0)

    def events(self, topic: str, after: int, limit: int) -> Sequence[Event]:
        return self.found[after : after + limit]


class Member:
    def __init__(self, *, deflates: bool = False) -> None:
        self.deflates = deflates
        self.got: list[bytes] = []

    def push(self, data: bytes) -> None:
        self.got.append(data)

    async def ready(self) -> bool:
        await asyncio.sleep(0)
        return True

    @property
    def seqs(self) -> list[int]:
        return [int(part.split(b",")[0]) for part in b"".join(self.got).split(b'"seq":')[1:]]


@pytest.fixture
async def bus() -> LocalBus:
    return LocalBus()


@pytest.fixture
async def events() -> Events:
    return Events(random.Random(1))


@pytest.fixture
async def hub(events: Events, bus: LocalBus) -> AsyncIterator[Hub]:
    tested = Hub(cast("Store", events), bus)
    await tested.start()
    yield tested
    await tested.stop()


def add(events: Events, bus: LocalBus) -> None:
    events.found.append(Event(TOPIC, len(events.found) + 1, "ticket.state", 0.0, {}))
    bus.notify((TOPIC,))


async def settled(events: Events, members: Sequence[Member]) -> None:
    async with asyncio.timeout(60):
        while any(member.seqs[-1:] != [len(events.found)] for member in members):  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(6))
async def test_members_that_join_while_events_come_miss_and_repeat_none(hub: Hub, bus: LocalBus, seed: int) -> None:
    chance = random.Random(seed)
    events = cast("Events", hub._store)
    events._chance = chance
    joining, members = [], list[tuple[Member, int]]()
    for _ in range(300):
        add(events, bus)
        if chance.random() < 0.1:
            member, cursor = Member(), chance.randint(0, len(events.found))
            members.append((member, cursor))
            joining.append(asyncio.create_task(hub.join(member, TopicSource("ticket:tk_1"), cursor)))
        await asyncio.sleep(0)
    add(events, bus)
    await asyncio.gather(*joining)
    await settled(events, [member for member, _ in members])
    for member, cursor in members:
        assert member.seqs == list(range(cursor + 1, len(events.found) + 1))


@pytest.mark.parametrize("turns", range(20))
async def test_the_event_in_the_moment_of_joining_is_told(hub: Hub, bus: LocalBus, events: Events, turns: int) -> None:
    member, events.longest = Member(), 12
    joining = asyncio.create_task(hub.join(member, TopicSource("ticket:tk_1"), 0))
    for _ in range(turns):
        await asyncio.sleep(0)
    add(events, bus)
    await joining
    await settled(events, [member])
    assert member.seqs == [1]


async def test_a_room_is_read_once_for_all_and_its_bytes_are_shared(hub: Hub, bus: LocalBus, events: Events) -> None:
    members = [Member() for _ in range(100)]
    for member in members:
        await hub.join(member, TopicSource("ticket:tk_1"), 0)
    for _ in range(50):
        await asyncio.sleep(0)
    before = events.reads
    add(events, bus)
    await settled(events, members)
    for _ in range(50):
        await asyncio.sleep(0)
    assert events.reads - before <= 2  # the news, and that there is no more
    assert len({id(member.got[0]) for member in members}) == 1


async def test_an_event_is_compressed_once_for_those_who_take_it(hub: Hub, bus: LocalBus, events: Events) -> None:
    members = [Member(deflates=bool(number % 2)) for number in range(100)]
    for member in members:
        await hub.join(member, TopicSource("ticket:tk_1"), 0)
    events.found.append(Event(TOPIC, 1, "agent.log", 0.0, {"text": "the same again " * 100}))
    bus.notify((TOPIC,))
    async with asyncio.timeout(5):
        while not all(member.got for member in members):  # noqa: ASYNC110
            await asyncio.sleep(0)
    plain, packed = ({id(member.got[0]) for member in members if member.deflates is way} for way in (False, True))
    assert (len(plain), len(packed)) == (1, 1)
    assert 1500 < len(members[0].got[0]) > 8 * len(members[1].got[0])
    deflate = PerMessageDeflate(True, True, 15, 15)  # noqa: FBT003 - of websockets: no context, 15 bits each
    size = int.from_bytes(members[1].got[0][2:4]) if members[1].got[0][1] == 126 else members[1].got[0][1]
    payload = members[1].got[0][-size:]
    assert members[1].got[0][0] == 0xC1
    assert deflate.decode(Frame(Opcode.TEXT, payload, rsv1=True)).data == members[0].got[0][4:]


async def test_small_events_are_sent_as_they_are(hub: Hub, bus: LocalBus, events: Events) -> None:
    member = Member(deflates=True)
    await hub.join(member, TopicSource("ticket:tk_1"), 0)
    add(events, bus)
    await settled(events, [member])
    assert member.got[0][0] == 0x81


async def test_a_room_in_which_nobody_is_is_closed(hub: Hub, bus: LocalBus, events: Events) -> None:
    member = Member()
    await hub.join(member, TopicSource("ticket:tk_1"), 0)
    assert hub.room(TOPIC)
    hub.leave(member, TOPIC)
    assert hub.room(TOPIC) is None
    before = events.reads
    add(events, bus)
    for _ in range(50):
        await asyncio.sleep(0)
    assert (member.got, events.reads - before) == ([], 0)
