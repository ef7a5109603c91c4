"""Events, numbered per topic without gaps in the transaction that makes them true."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from controlplane.domain.event import Event, NewEvent
from controlplane.domain.transitions import TICKETS_TOPIC
from controlplane.stores import bulk, statements
from controlplane.stores.pending import Pending
from controlplane.stores.session import Row
from controlplane.stores.tables import EventTable, TopicTable
from controlplane.stores.unit import Unit, pack, unpack

# The largest number that a database keeps; a cursor beyond it has seen everything.
NEWEST = 2**63 - 1

SELECT_EVENTS = statements.select(EventTable, "topic = ? AND seq > ?")
SELECT_BYTES = "SELECT COALESCE(SUM(LENGTH(data)), 0) FROM event WHERE topic = ?"
SELECT_TOPICS = "SELECT name, seq FROM topic WHERE"
INSERT_EVENTS = bulk.Statement(statements.insert(EventTable))
UPSERT_TOPICS = bulk.Statement(statements.upsert(TopicTable, "name"))


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
        return self._newest((topic,)).get(topic, 0)  # those of this unit of work have no numbers yet

    def _newest(self, topics: Collection[str]) -> dict[str, int]:
        """Of those that have events."""
        return {
            name: int(seq)
            for chunk in statements.chunks(topics)
            for name, seq in self.raw.rows(f"{SELECT_TOPICS} {statements.within('name', len(chunk))}", chunk)
        }


class EventWrites(EventReads):
    def add_events(self, events: Sequence[NewEvent], now: float) -> None:
        self.pending.events += [(event, now) for event in events]

    def event_bytes(self, topic: str) -> int:
        """Read once, then counted: a ticket may have many events, and asks with each batch of them."""
        size = self.memory.sizes.get(topic)
        if size is None:
            size = int(self.session.rows(SELECT_BYTES, (topic,))[0][0])
            self._remember_bytes(topic, size)
        return size

    def add_event_bytes(self, topic: str, more: int) -> None:
        if (size := self.memory.sizes.get(topic)) is not None:
            self._remember_bytes(topic, size + more)

    def _remember_bytes(self, topic: str, size: int) -> None:
        self.memory.sizes.put(topic, size)
        self.touched.add(topic)

    def number(self) -> None:
        """Gives the events that were added the next numbers of their topics."""
        events, self.pending.events = self.pending.events, []
        if not events:
            return
        known = dict.fromkeys([topic for event, _ in events for topic in event.topics])
        following = {**dict.fromkeys(known, 0), **self._newest(known)}
        for event, now in events:
            data = pack(event.data)  # once, however many topics have it
            for topic in event.topics:
                seq = following[topic] = following[topic] + 1
                self.pending.numbered.append((topic, seq, event.type, now, data))
        for topic, seq in following.items():
            self.memory.topics.put(topic, seq)
        self.pending.topics |= following
        self.touched |= following.keys()
        self.topics |= following.keys()
        if TICKETS_TOPIC in following:
            self.listed += [event for event, _ in events if TICKETS_TOPIC in event.topics]
            self.upto = following[TICKETS_TOPIC]

    def write_events(self, pending: Pending) -> None:
        INSERT_EVENTS.run(self.raw, pending.numbered)
        UPSERT_TOPICS.run(self.raw, list(pending.topics.items()))

    def _newest(self, topics: Collection[str]) -> dict[str, int]:
        known: dict[str, int] = {}
        for topic in topics:
            seq = self.memory.topics.get(topic) or self.pending.topics.get(topic) or self.group.topics.get(topic)
            if seq is not None:
                known[topic] = seq
        return known | super()._newest([topic for topic in topics if topic not in known])


def to_event(row: Row) -> Event:
    topic, seq, kind, time, data = row
    return Event(topic=topic, seq=seq, type=kind, time=time, data=unpack(data))
