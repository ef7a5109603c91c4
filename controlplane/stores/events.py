"""Events, numbered per topic without gaps in the transaction that makes them true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from controlplane.domain.event import Event, NewEvent
from controlplane.stores import statements
from controlplane.stores.session import Row
from controlplane.stores.tables import EventTable
from controlplane.stores.unit import Unit, pack, unpack

# The largest number that a database keeps; a cursor beyond it has seen everything.
NEWEST = 2**63 - 1

INSERT_EVENT = statements.insert(EventTable)
ADVANCE_TOPIC = (
    "INSERT INTO topic (name, seq) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET seq = topic.seq + excluded.seq RETURNING seq"
)


class EventReads(Unit):
    def events(self, topic: str, cursor: int, limit: int, types: Sequence[str] = ()) -> list[Event]:
        query = EventTable.select().where((EventTable.topic == topic) & (EventTable.seq > min(cursor, NEWEST)))
        if types:
            query = query.where(EventTable.type.in_(list(types)))
        return [to_event(row) for row in self.session.select(query.order_by(EventTable.seq).limit(limit))]

    def tail(self, topic: str, limit: int, types: Sequence[str] = ()) -> list[Event]:
        query = EventTable.select().where(EventTable.topic == topic)
        if types:
            query = query.where(EventTable.type.in_(list(types)))
        newest = self.session.select(query.order_by(EventTable.seq.desc()).limit(limit))
        return [to_event(row) for row in reversed(newest)]


class EventWrites(EventReads):
    def add_events(self, events: Sequence[NewEvent], now: float) -> None:
        wanted = Counter(event.topic for event in events)
        self.session.change(INSERT_EVENT, self._number(events, wanted, now))
        self.topics |= wanted.keys()

    def _number(self, events: Sequence[NewEvent], wanted: Counter[str], now: float) -> Iterator[Row]:
        following = {topic: self._reserve(topic, count) for topic, count in wanted.items()}
        for event in events:
            yield event.topic, following[event.topic], event.type, now, pack(dict(event.data))
            following[event.topic] += 1

    def _reserve(self, topic: str, count: int) -> int:
        (newest,) = self.session.rows(ADVANCE_TOPIC, (topic, count))[0]
        return int(newest) - count + 1


def to_event(row: Row) -> Event:
    topic, seq, kind, time, data = row
    return Event(topic=topic, seq=seq, type=kind, time=time, data=unpack(data))
