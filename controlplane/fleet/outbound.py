"""What a host is told under one boot id: numbered batches, kept until they are acknowledged. Pure data, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from swarm.hostlink.v1 import hostlink_pb2 as pb

BATCH_BYTES: Final = 512 * 1024
BATCH_EVENTS: Final = 500
KEPT_BYTES: Final = 64 << 20
FRESH_EVENTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Batch:
    """One numbered message; `size` in bytes."""

    seq: int
    events: tuple[pb.ControlEvent, ...]
    size: int


class Outbound:
    """Numbers go on over reconnects; `acked` is the last number that the host has of an earlier control plane."""

    def __init__(self, acked: int) -> None:
        self._seq = acked
        self._fresh: deque[pb.ControlEvent] = deque()
        self._kept: deque[Batch] = deque()
        self._bytes = 0

    def put(self, event: pb.ControlEvent) -> None:
        self._fresh.append(event)

    def withdraw(self, event: pb.ControlEvent) -> None:
        """Takes back what was not sent yet."""
        for index, each in enumerate(self._fresh):
            if each is event:
                del self._fresh[index]
                return

    def next(self) -> Batch | None:
        """The next message with as much as fits into one; None when there is nothing to say."""
        events: list[pb.ControlEvent] = []
        size = 0
        while self._fresh and len(events) < BATCH_EVENTS:
            more = self._fresh[0].ByteSize()
            if events and size + more > BATCH_BYTES:
                break
            events.append(self._fresh.popleft())
            size += more
        if not events:
            return None
        self._seq += 1
        batch = Batch(self._seq, tuple(events), size)
        self._keep(batch)
        return batch

    def _keep(self, batch: Batch) -> None:
        # An answer to a renewal is worth nothing later; its number still has to arrive.
        lasting = tuple(event for event in batch.events if not event.HasField("renewed"))
        self._kept.append(Batch(batch.seq, lasting, batch.size))
        self._bytes += batch.size

    def ack(self, seq: int) -> None:
        while self._kept and self._kept[0].seq <= seq:
            self._bytes -= self._kept.popleft().size

    def kept(self) -> Sequence[Batch]:
        """What to send again after a reconnect, in order."""
        return tuple(self._kept)

    def holds(self, attempt_id: str) -> bool:
        """Whether an assignment of this attempt is on its way."""
        waiting = [*self._fresh, *(event for batch in self._kept for event in batch.events)]
        return any(event.assignment.attempt.attempt_id == attempt_id for event in waiting)

    @property
    def choked(self) -> bool:
        """The host takes nothing in, although it is attached."""
        return self._bytes > KEPT_BYTES or len(self._fresh) > FRESH_EVENTS
