"""What the host has to say: ordered by priority, numbered in batches, kept until acknowledged. Pure data, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from hostd.messages import AgentEvents, AttemptRef, HostEvent, Renewal, VmReport

MESSAGE_BYTES = 1 << 20
MESSAGE_EVENTS = 1000
Acked = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Caps:
    """Bytes. Beyond `logs` and `events` the oldest give way to a gap marker; `window` bounds the unacknowledged."""

    window: int = 4 << 20
    logs: int = 8 << 20
    events: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Item:
    event: HostEvent
    size: int
    order: int
    acked: Acked | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A numbered message."""

    seq: int
    items: tuple[Item, ...]

    @property
    def size(self) -> int:
        return sum(item.size for item in self.items)


class Queue:
    """First in, first out, bounded in bytes."""

    def __init__(self, cap: int | None = None) -> None:
        self._items: deque[Item] = deque()
        self._cap = cap
        self.bytes = 0

    def put(self, item: Item) -> list[Item]:
        """Append; returns the oldest items that had to give way."""
        self._items.append(item)
        self.bytes += item.size
        dropped = []
        while self._cap is not None and self.bytes > self._cap:
            dropped.append(self.pop())
        return dropped

    def pop(self) -> Item:
        item = self._items.popleft()
        self.bytes -= item.size
        return item

    def head(self) -> Item | None:
        return self._items[0] if self._items else None


class Outbox:
    """Send order: renewals, results, events, logs. Within one message events keep the order they were put in."""

    def __init__(self, caps: Caps | None = None) -> None:
        self._caps = caps or Caps()
        self._results = Queue()
        self._events = Queue(self._caps.events)
        self._logs = Queue(self._caps.logs)
        self._latest: dict[type[Renewal | VmReport], Item] = {}
        self._gaps: dict[str, Item] = {}
        self._retained: deque[Batch] = deque()
        self._retained_bytes = 0
        self._seq = 0
        self._order = 0

    def put(self, event: HostEvent, size: int, acked: Acked | None = None) -> None:
        """Queue `event`, `size` bytes on the wire; `acked` is called when the control plane has it.

        A renewal or VM report replaces an unsent one. Dropped agent events leave a gap marker in their place.
        """
        self._order += 1
        item = Item(event, size, self._order, acked)
        match event:
            case Renewal() | VmReport():
                self._latest[type(event)] = item
            case AgentEvents():
                queue = self._logs if event.logs else self._events
                for dropped in queue.put(item):
                    self._mark_gap(dropped)
            case _:
                self._results.put(item)

    def _mark_gap(self, dropped: Item) -> None:
        event = dropped.event
        assert isinstance(event, AgentEvents)
        earlier = self._gaps.get(event.attempt.attempt_id)
        count = max(event.logs, event.gap, 1) + (_gap(earlier) if earlier else 0)
        marker = AgentEvents(event.attempt, b"", gap=count)
        self._gaps[event.attempt.attempt_id] = Item(marker, 128, dropped.order)

    def next(self) -> Batch | None:
        """Build, number and retain the next message; None when there is nothing that may be sent now."""
        items = [item for key in (Renewal, VmReport) if (item := self._latest.pop(key, None))]
        if self._retained_bytes < self._caps.window:
            items += self._gaps.values()
            self._gaps.clear()
            self._fill(items)
        if not items:
            return None
        self._seq += 1
        batch = Batch(self._seq, tuple(sorted(items, key=lambda item: item.order)))
        self._retain(batch)
        return batch

    def _fill(self, items: list[Item]) -> None:
        size = sum(item.size for item in items)
        for queue in (self._results, self._events, self._logs):
            while (head := queue.head()) and len(items) < MESSAGE_EVENTS:
                if items and size + head.size > MESSAGE_BYTES:
                    return
                size += head.size
                items.append(queue.pop())

    def _retain(self, batch: Batch) -> None:
        # A renewal repeated later would claim a moment that has passed, a VM report one that is outdated.
        lasting = replace(batch, items=tuple(i for i in batch.items if not isinstance(i.event, Renewal | VmReport)))
        self._retained.append(lasting)
        self._retained_bytes += lasting.size

    def ack(self, seq: int) -> None:
        """Forget every message up to `seq`."""
        while self._retained and self._retained[0].seq <= seq:
            batch = self._retained.popleft()
            self._retained_bytes -= batch.size
            for item in batch.items:
                if item.acked:
                    item.acked()

    def unacked(self) -> tuple[Batch, ...]:
        """Messages to send again after a reconnect, in order."""
        return tuple(self._retained)

    def forget(self, ref: AttemptRef) -> None:
        """Drop the gap marker of an attempt that ended."""
        self._gaps.pop(ref.attempt_id, None)


def _gap(item: Item) -> int:
    return item.event.gap if isinstance(item.event, AgentEvents) else 0
