"""Rooms that are open, and who is in them: each is read once per change, each event is encoded once for all sockets.

It is compressed once too, for all that take it so. Truth is what a room is read from; the bus only says when to look. A
member first reads by itself, from its cursor to where the room is, and then gets what the room gets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Final, Protocol

from controlplane.gateway.frames import Frame
from controlplane.gateway.rooms import VMS_TOPIC, Source
from controlplane.ports import Bus, Reader, Store, Subscription

TOPICS: Final = ("ticket:*", "user:*", "tickets", VMS_TOPIC)
AGAIN_S: Final = 1.0

log = logging.getLogger(__name__)


class Member(Protocol):
    """A socket; `deflates`: it takes compressed messages."""

    @property
    def deflates(self) -> bool: ...

    def push(self, data: bytes) -> None:
        """Takes a frame at once, or leaves."""
        ...

    async def ready(self) -> bool:
        """Waits until there is room for more; False: it has left."""
        ...


@dataclass(slots=True, eq=False)
class Room:
    """`head` is how far it was read for those who are live: `members` by the number of their last frame."""

    source: Source
    head: int = 0
    members: dict[Member, int] = field(default_factory=dict)
    joining: int = 0

    def tell(self, found: Sequence[Frame]) -> None:
        """The same bytes to all who take the same form, except to who has some of them already."""
        first, last = found[0].seq, found[-1].seq
        everything = cache(partial(joined, found))
        for member, seen in self.members.items():
            if seen < first:
                member.push(everything(member.deflates))
                self.members[member] = last
            elif seen < last:
                member.push(joined([frame for frame in found if frame.seq > seen], member.deflates))
                self.members[member] = last


class Hub:
    """`join` and `leave` rooms; what they are told is pushed to the members."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._rooms: dict[str, Room] = {}
        self._by_topic: dict[str, set[Room]] = {}
        self._changed: set[Room] = set()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._bell: Subscription | None = None

    async def start(self) -> None:
        self._bell = self._bus.subscribe(*TOPICS)
        self._tasks = [asyncio.create_task(self._listen(self._bell)), asyncio.create_task(self._run())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._bell is not None:
            await self._bell.aclose()

    def room(self, name: str) -> Room | None:
        """One that is open."""
        return self._rooms.get(name)

    async def join(self, member: Member, source: Source, cursor: int) -> None:
        """Tells the member all after the cursor, then what comes; returns once it is live or has left."""
        room = self._enter(source)
        room.joining += 1
        try:
            await self._catch_up(room, member, cursor)
        finally:
            room.joining -= 1
            self._tidy(room)

    def leave(self, member: Member, name: str) -> None:
        if room := self._rooms.get(name):
            room.members.pop(member, None)
            self._tidy(room)

    async def _catch_up(self, room: Room, member: Member, cursor: int) -> None:
        while True:
            found, upto = await self._store.read(partial(room.source.read, after=cursor))
            if upto == cursor and (room.head <= cursor or not room.members):
                self._go_live(room, member, cursor)
                return
            cursor = upto
            for frame in found:
                if not await member.ready():
                    return
                member.push(frame.form(deflates=member.deflates))

    def _go_live(self, room: Room, member: Member, cursor: int) -> None:
        """From here on the member is told what the room is; it is read once more for what came since the last look."""
        if not room.members:
            room.head = cursor
        room.members[member] = cursor
        self._changed.add(room)
        self._news.set()

    def _enter(self, source: Source) -> Room:
        room = self._rooms.get(source.name)
        if room is None:
            room = self._rooms[source.name] = Room(source)
            self._by_topic.setdefault(source.topic, set()).add(room)
        return room

    def _tidy(self, room: Room) -> None:
        """Closes a room in which nobody is."""
        name = room.source.name
        if not room.members and not room.joining and self._rooms.get(name) is room:
            del self._rooms[name]
            rooms = self._by_topic[room.source.topic]
            rooms.discard(room)
            if not rooms:
                del self._by_topic[room.source.topic]

    async def _listen(self, bell: Subscription) -> None:
        async for topics in bell:
            if not self._rooms:
                continue
            told = topics & self._by_topic.keys()
            changed = {room for topic in told for room in self._by_topic[topic]}
            if any(topic.endswith("*") for topic in topics):
                changed.update(self._rooms.values())  # more than the bus counts
            if changed:
                self._changed |= changed
                self._news.set()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            changed, self._changed = [room for room in self._changed if room.members], set()
            if not changed:
                continue
            try:
                found = await self._store.read(partial(read, rooms=changed))
            except Exception:
                log.exception("rooms cannot be read")
                self._changed |= set(changed)
                await asyncio.sleep(AGAIN_S)
                self._news.set()
            else:
                self._tell(found)

    def _tell(self, found: Mapping[Room, tuple[Sequence[Frame], int]]) -> None:
        for room, (told, upto) in found.items():
            if upto > room.head:
                room.head = upto
                self._changed.add(room)  # there may be more than one read takes
                self._news.set()
            if told:
                room.tell(told)


def joined(found: Sequence[Frame], deflates: bool) -> bytes:  # noqa: FBT001 - what `cache` tells them by
    return b"".join(frame.form(deflates=deflates) for frame in found)


def read(reader: Reader, rooms: Sequence[Room]) -> dict[Room, tuple[Sequence[Frame], int]]:
    """What is new in each, of one snapshot."""
    return {room: room.source.read(reader, room.head) for room in rooms}
