"""Events, numbered per topic without gaps in the transaction that makes them true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from controlplane.domain.event import Event, NewEvent
from controlplane.stores import statements
from controlplane.stores.session import Row
from controlplane.stores.tables import EventTable, TopicTable
from controlplane.stores.unit import Unit, pack, unpack

# The largest number that a database keeps; a cursor beyond it has seen everything.
NEWEST = 2**63 - 1

SELECT_EVENTS = statements.select(EventTable, "topic = ? AND seq > ?")
SELECT_NEWEST = statements.select(TopicTable, "name = ?")
INSERT_EVENT = statements.insert(EventTable)
ADVANCE_TOPIC = (
    "INSERT INTO topic (name, seq) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET seq = topic.seq + excluded.seq RETURNING seq"
)


class EventReads(Unit):
    def events(self, topic: str, cursor: int, limit: int, types: Sequence[str] = ()) -> list[Event]:
        chosen = f"AND {statements.within('type', len(types))}" if types else ""
        sql = f"{SELECT_EVENTS} {chosen} ORDER BY seq LIMIT ?"
        return [to_event(row) for row in self.session.rows(sql, (topic, min(cursor, NEWEST), *types, limit))]

    def tail(self, topic: str, limit: int, types: Sequence[str] = ()) -> list[Event]:
        chosen = f"AND {statements.within('type', len(types))}" if types else ""
        sql = f"{SELECT_EVENTS} {chosen} ORDER BY seq DESC LIMIT ?"
        return [to_event(row) for row in reversed(self.session.rows(sql, (topic, 0, *types, limit)))]

    def newest_event(self, topic: str) -> int:
        found = self.session.rows(SELECT_NEWEST, (topic,))
        return int(found[0][1]) if found else 0


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
