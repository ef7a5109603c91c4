"""Events, numbered per topic without gaps in the transaction that makes them true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from controlplane.domain.event import Event, NewEvent
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.stores import statements
from controlplane.stores.pending import Pending
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
        found = self.raw.rows(SELECT_NEWEST, (topic,))  # without those of this unit of work, which need not be written
        return int(found[0][1]) if found else 0


class EventWrites(EventReads):
    def add_events(self, events: Sequence[NewEvent], now: float) -> None:
        self.pending.events += [(event, now) for event in events]

    def write_events(self, pending: Pending) -> None:
        if not pending.events:
            return
        wanted = Counter([event.topic for event, _ in pending.events])
        self.raw.change(INSERT_EVENT, self._number(pending.events, wanted))
        self.topics |= wanted.keys()

    def _number(self, events: Sequence[tuple[NewEvent, float]], wanted: Counter[str]) -> Iterator[Row]:
        newest = self.raw.changed(ADVANCE_TOPIC, wanted.items())
        following = {topic: int(seq) - count + 1 for (topic, count), (seq,) in zip(wanted.items(), newest, strict=True)}
        if TICKETS_TOPIC in following:
            first = self.listed[0] if self.listed else following[TICKETS_TOPIC]
            self.listed = first, following[TICKETS_TOPIC] + wanted[TICKETS_TOPIC] - 1
        for event, now in events:
            yield event.topic, following[event.topic], event.type, now, pack(dict(event.data))
            following[event.topic] += 1


def to_event(row: Row) -> Event:
    topic, seq, kind, time, data = row
    return Event(topic=topic, seq=seq, type=kind, time=time, data=unpack(data))
