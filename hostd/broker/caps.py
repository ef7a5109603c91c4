"""How much an attempt may say in all. Then its logs are dropped; what its ticket needs still passes, up to a limit."""

from __future__ import annotations

from hostd.broker.refusal import Refusal
from hostd.ports import Limits
from swarm.guest.v1 import guest_pb2

DROPPABLE = frozenset(("log", "progress"))
LATE_BYTES = 16 << 20
LATE_EVENTS = 10_000


class EventCaps:
    """Counts what was said, and keeps of each batch what may be passed on."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._events = 0
        self._bytes = 0
        self._log_bytes = 0
        self._late_events = 0
        self._late_bytes = 0
        self._capped = False
        self._dropped = 0

    def keep(self, batch: guest_pb2.EventBatch, size: int) -> guest_pb2.EventBatch:
        """The batch of `size` bytes itself, or without its logs once there were too many. `Refusal` in the end."""
        self._events += len(batch.events)
        self._bytes += size
        self._log_bytes += sum(event.ByteSize() for event in batch.events if event.type in DROPPABLE)
        reason = self._reason()
        if not reason:
            return batch
        kept = guest_pb2.EventBatch(events=[event for event in batch.events if event.type not in DROPPABLE])
        self._dropped += len(batch.events) - len(kept.events)
        self._count_late(kept)
        if not self._capped:
            self._capped = True
            kept.events.add(type="log_capped", text=f"the log ends here: the agent wrote more than {reason}")
        return kept

    def gap(self) -> guest_pb2.EventBatch | None:
        """The one marker that stands for all that was dropped."""
        if not self._dropped:
            return None
        return guest_pb2.EventBatch(events=[guest_pb2.GuestEvent(type="log", gap=self._dropped)])

    def _reason(self) -> str:
        limits = self._limits
        if self._log_bytes > limits.logs_bytes:
            return f"{limits.logs_bytes >> 20} MiB of logs"
        if self._bytes > limits.events_bytes:
            return f"{limits.events_bytes >> 20} MiB of events"
        return f"{limits.events} events" if self._events > limits.events else ""

    def _count_late(self, kept: guest_pb2.EventBatch) -> None:
        self._late_events += len(kept.events)
        self._late_bytes += kept.ByteSize()
        if self._late_bytes > LATE_BYTES or self._late_events > LATE_EVENTS:
            raise Refusal(413, "too many events")
